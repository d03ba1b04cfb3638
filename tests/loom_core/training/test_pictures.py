"""Generated held-out samples: as inference makes them, the same noise every time, nothing of the training touched."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from loom_core.bundle import find_model
from loom_core.compute import Compute
from loom_core.config.presets import PRESETS
from loom_core.data.encoding import encode_sample
from loom_core.data.tasks import TRAINING_TASKS
from loom_core.data.world.source import world_source
from loom_core.evaluation.sampler import BatchSampler, SamplingChoices
from loom_core.training import pictures as subject
from loom_core.training.ema import Ema
from loom_core.training.objective import ObjectiveSettings, PackObjective
from loom_core.training.pictures import SamplePictures, in_turn, picture_seed, sampling_of
from loom_core.training.prompts import PromptBatches
from loom_core.types import Clip

OFFICIAL = PRESETS["official"]


class Codec:
    """Latents of 48 channels as pictures: the first three are the colours, a latent frame is four but for the first."""

    latent_channels, tile_latents = 48, None

    def __init__(self):
        self.decoded = 0

    def decode(self, latents):
        assert latents.dtype == torch.float32
        self.decoded += 1
        colours = latents[:, :3].clamp(-1, 1).repeat_interleave(4, dim=2)[:, :, 3:]
        return colours.repeat_interleave(16, dim=3).repeat_interleave(16, dim=4)


@pytest.fixture
def samples(sample_of):
    tasks = ("edit-image", "edit-image", "text-to-video", "reference-edit")
    return [sample_of(index, seed=index, task=task, frames=1 + index // 2) for index, task in enumerate(tasks)]


def picturing(samples, objective, **changes):
    return SamplePictures(samples, objective, Codec(), **{"preset": OFFICIAL, "steps": 2, **changes})


def test_tasks_come_in_turn(sample_of):
    tasks = ["edit-image", "edit-image", "edit-image", "text-to-image", "edit-video", "edit-video"]
    samples = [sample_of(index, seed=index, task=task) for index, task in enumerate(tasks)]
    assert [sample.seed for sample in in_turn(samples, 5)] == [0, 3, 4, 1, 5]
    assert [sample.seed for sample in in_turn(samples, 2)] == [0, 3]
    assert len(in_turn(samples, 99)) == 6
    assert in_turn([], 4) == []


def test_rows_show_what_the_grid_needs(model, samples, make_objective):
    references = (Clip(torch.zeros(1, 8, 8, 3, dtype=torch.uint8), 0.0, is_image=True),)
    samples[3] = replace(samples[3], mllm_references=references)
    edit, generation, reference, _ = picturing(samples, make_objective(model), model=model)()
    assert edit.caption == "edit-image: Do number 0."
    assert tuple(edit.result.shape) == (1, 64, 64, 3)
    assert edit.result.dtype == torch.uint8
    assert edit.source is not None and not torch.equal(edit.source, edit.truth)
    assert (generation.source, generation.references) == (None, ())
    assert generation.result.shape[0] == 5  # two latent frames
    assert generation.truth.shape[0] == 3, "first, middle and last"
    assert reference.references[0] is references[0].frames


def test_a_reconstruction_is_shown_with_its_source(model, sample_of, make_objective):
    sample = sample_of(0, seed=0, task="reconstruct-image")
    sample = replace(sample, source=sample.target, instruction="")
    pictures = picturing([sample], make_objective(model), model=model)
    (row,) = pictures()
    assert row.source is row.truth
    assert row.caption == "reconstruct-image"
    assert pictures.codec.decoded == 2  # result and truth
    pictures()
    assert pictures.codec.decoded == 3, "what does not change is decoded once"


@pytest.mark.parametrize(("task", "scale"), [("reconstruct-image", 2.5), ("edit-video", 2.5), ("text-to-video", 5.0)])
def test_guidance_is_that_of_inference(sample_of, task, scale):
    sampling = sampling_of(sample_of(0, seed=0, task=task), OFFICIAL, steps=7)
    assert (sampling.guidance_scale, sampling.visual_guidance_scale) == (scale, 1.5)
    assert (sampling.num_inference_steps, sampling.solver, sampling.shift) == (7, "unipc", 5.0)


def test_the_same_noise_every_time_and_no_draw_of_the_training(model, samples, make_objective):
    pictures = picturing(samples, make_objective(model), model=model)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = pictures()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert all(torch.equal(one.result, other.result) for one, other in zip(first, pictures(), strict=True))
    assert len({picture_seed(sample) for sample in samples}) == len(samples)


def test_averaged_weights_make_the_pictures_and_the_own_ones_come_back(model, samples, make_objective):
    objective = make_objective(model)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    ema = Ema(dict(model.named_parameters()), decay=0.9)
    for average in ema.weights.values():
        average.mul_(0.9)
    own, averaged = (picturing(samples, objective, model=model, ema=each)() for each in (None, ema))
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert model.training
    assert all(weight.requires_grad and weight.grad is None for weight in model.parameters())
    with ema.swapped_into(model):
        wanted = picturing(samples, objective, model=model)()
    for one, other, want in zip(own, averaged, wanted, strict=True):
        assert torch.equal(other.result, want.result)
        assert not torch.equal(other.result, one.result)


@pytest.mark.parametrize(
    ("task", "to_model", "lost"),
    [
        ("edit-image", True, ["all", "text", "nothing"]),
        ("edit-image", False, ["all", "nothing"]),
        ("text-to-image", True, ["all", "nothing"]),
        ("reference-to-image", False, ["all", "text", "nothing"]),
    ],
)
def test_branches_are_those_of_the_training_s_dropout(model, sample_of, make_objective, task, to_model, lost):
    """Where neither MLLM nor DiT gets the source, as in stage 1, there is nothing visual to guide by."""
    objective = make_objective(model, source_to_mllm=to_model, source_to_dit=to_model)
    asked, conditions = [], objective.conditions

    def recording(samples, dropped):
        asked.append([what.value for what in dropped])
        return conditions(samples, dropped)

    objective.conditions = recording
    picturing([sample_of(0, seed=0, task=task)], objective, model=model)()
    assert asked == [lost]


def test_a_gpu_decodes_on_tiles_that_fit_and_encodes_as_before(monkeypatch, sample_of):
    codec = Codec()
    latents = torch.zeros(48, 31, 30, 52)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (2 * 2**30, 80 * 2**30))
    with pytest.raises(ZeroDivisionError), subject._decodes_in_free_memory(codec, latents, device=torch.device("cuda")):
        assert 16 <= codec.tile_latents < 52
        raise ZeroDivisionError
    assert codec.tile_latents is None


WITHOUT_VISUAL = replace(OFFICIAL, guidance_scale=2.0, visual_guidance_scale=2.0)
"""Leaves out the visual branch, which of a clip reads other words at inference: no time marks of its frames."""


@pytest.mark.parametrize(
    ("task", "preset"),
    [("edit-image", OFFICIAL), ("reference-to-image", PRESETS["tiny"]), ("text-to-video", OFFICIAL),
     ("edit-video", WITHOUT_VISUAL)],
)  # fmt: skip
def test_pictures_are_those_of_inference(task, preset):
    """With inference's order and unconditional prompt, from the same noise: packed branches against batched ones."""
    files, compute = find_model(), Compute(device=torch.device("cpu"), dtype=torch.float32)
    sampler = BatchSampler(files, compute=compute, preset=preset, choices=SamplingChoices(num_inference_steps=3))
    options = {"size": [64, 64], "frames": [1 if TRAINING_TASKS[task].is_image else 5], "tasks": {task: 1.0}}
    sample = world_source(options).load(0, generator=torch.Generator())
    encoded = replace(encode_sample(sample, sampler.codec, dtype=torch.float32), seed=5)
    settings = ObjectiveSettings(shift_scale=0.5, prompt_order="inference", unconditional_prompt="inference")
    objective = PackObjective(sampler._model, PromptBatches(sampler._encoder), settings)
    pictures = SamplePictures([encoded], objective, sampler.codec, model=sampler._model, preset=preset, steps=3)
    ((_, wanted),) = sampler.answer([(sample, picture_seed(encoded))])
    (row,) = pictures()
    assert sample.task is TRAINING_TASKS[task]
    assert (row.result.int() - wanted.int()).abs().max() <= 1
    assert row.result.float().std() > 5, "more than one colour"


def test_a_stop_between_two_samples_gives_the_pictures_up(model, samples, make_objective):
    answers = iter([False, True])
    pictures = picturing(samples, make_objective(model), model=model)
    assert pictures(lambda: next(answers)) is None
    assert next(answers, None) is None, "asked before each sample"
