"""Samples in batches give what the pipeline gives for each alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from loom_core.bundle import find_model
from loom_core.compute import Compute
from loom_core.config.presets import get_preset
from loom_core.evaluation.plan import SuitePlan, suite_samples
from loom_core.evaluation.sampler import BatchSampler, SamplingChoices
from loom_core.media.encode import write_image
from loom_core.pipeline import generate
from loom_core.request import Request, plan_request

CHOICES = SamplingChoices(num_inference_steps=2, guidance_scale=1.5, visual_guidance_scale=1.2)
IMAGE_TASKS = ("edit-image", "reference-to-image", "text-to-image")


@pytest.fixture(scope="module")
def samples():
    """Stills of three tasks; references of several numbers."""
    plan = SuitePlan(samples=6, tasks=IMAGE_TASKS)
    return [(sample.world.sample, sample.seed) for sample in suite_samples(plan)]


@pytest.fixture(scope="module")
def files(small_dit):
    return replace(find_model(), dit=small_dit)


@pytest.fixture(scope="module")
def answers(samples, files):
    done = []
    sampler = BatchSampler(files, compute=Compute(), preset=get_preset("tiny"), choices=CHOICES, batch_size=4)
    return dict(sampler.answer(samples, progress=done.append)), done


def test_every_sample_is_answered_once(answers, samples):
    found, done = answers
    assert sorted(found) == list(range(6))
    assert sum(done) == 6
    assert max(done) > 1  # there were batches
    for index, (sample, _) in enumerate(samples):
        assert found[index].shape == sample.target.frames.shape


@pytest.mark.parametrize("task", IMAGE_TASKS)
def test_the_same_as_the_pipeline(answers, samples, files, tmp_path, task):
    index = next(index for index, (sample, _) in enumerate(samples) if sample.task.name == task)
    sample, seed = samples[index]
    source, references = None, []
    if sample.source is not None:
        source = tmp_path / "source.png"
        write_image(source, sample.source.frames)
    for number, clip in enumerate(sample.references):
        references.append(tmp_path / f"{number}.png")
        write_image(references[-1], clip.frames)
    request = Request(
        prompt=sample.instruction,
        task=task,
        source=source,
        references=tuple(references),
        num_frames=1,
        num_inference_steps=2,
        guidance_scale=1.5,
        visual_guidance_scale=1.2,
        seed=seed,
    )
    result = torch.cat(list(generate(plan_request(request, get_preset("tiny")), files).frames))
    difference = (answers[0][index].int() - result.int()).abs()
    assert int(difference.max()) <= 2
    assert float(difference.float().mean()) < 0.05
