"""Request in, video out, with small real parts: every task, seeds, memory, cancel, metadata, sound."""

from __future__ import annotations

import gc
import json
import sys
import threading
import weakref
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from loom_core import pipeline
from loom_core.bundle import find_model
from loom_core.compute import Compute
from loom_core.config.presets import PRESETS
from loom_core.errors import CancelledError, ConfigError, MediaError, WeightsError
from loom_core.media.decode import read_clip
from loom_core.media.metadata import read_metadata
from loom_core.media.probe import probe
from loom_core.media.targets import compare_path
from loom_core.mllm.convert import convert_qwen
from loom_core.offload.blocks import StreamedBlocks
from loom_core.output import write_compare, write_output
from loom_core.pipeline import Media, generate
from loom_core.protocols import EncodedPrompt
from loom_core.request import Request, plan_request
from loom_core.sampling.denoise import initial_noise
from loom_core.types import Branch, Task
from loom_core.vae.loading import load_codec
from loom_core.weights.convert import convert_checkpoint
from loom_core.weights.quantise import SCHEMES

SMALL = {"width": 64, "height": 32, "num_inference_steps": 2, "guidance_scale": 2.5, "visual_guidance_scale": 1.5}


def plan(**given):
    return plan_request(Request(**{"prompt": "a red boat", **SMALL, **given}), PRESETS["tiny"])


def frames_of(result):
    return torch.cat(list(result.frames))


@pytest.mark.parametrize("task", Task)
def test_every_task_makes_what_was_asked(task, small_files, harbour, still):
    given = {
        Task.TEXT_TO_VIDEO: {"num_frames": 9},
        Task.TEXT_TO_IMAGE: {"num_frames": 1},
        Task.EDIT_VIDEO: {"source": harbour, "num_frames": 9},
        Task.EDIT_IMAGE: {"source": still},
        Task.REFERENCE_EDIT: {"source": harbour, "references": (still, still), "num_frames": 5, "prompt": "@Image 2"},
        Task.REFERENCE_TO_VIDEO: {"references": (still, still), "num_frames": 5},
        Task.REFERENCE_TO_IMAGE: {"references": (still,), "num_frames": 1},
    }[task]
    made = generate(plan(**given), small_files)
    assert made.plan.task is task
    frames = frames_of(made)
    assert frames.dtype == torch.uint8
    assert frames.shape == (given.get("num_frames", 1), 32, 64, 3)
    assert frames.float().std() > 1


@pytest.mark.parametrize(("name", "source"), [("image_edit", "shapes.png"), ("video_edit", "shapes.mp4")])
def test_the_built_in_model_paints_the_square_and_leaves_the_rest(name, source, repo_root, answers, assert_obeyed):
    prompt = answers.ANSWERS[name].instruction
    asked = plan_request(Request(prompt=prompt, source=repo_root / "demo" / source, seed=7), PRESETS["tiny"])
    assert_obeyed(frames_of(generate(asked, find_model())), name)


def test_the_seed_decides_the_result(small_files):
    def run(seed):
        return frames_of(generate(plan(seed=seed, num_frames=1), small_files))

    assert torch.equal(run(3), run(3))
    assert not torch.equal(run(3), run(4))


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a blue boat"},
        {"negative_prompt": "blurry"},
        {"source_strength": 0.2},
        {"guidance_scale": 7.0},
        {"visual_guidance_scale": 3.0},
        {"solver": "euler"},
        {"shift": 0.0},
        {"layout": "inline", "prompt": "boat @Image 1"},
        {"fps": 8.0},
        {"mllm_frames": 2},
        {"speed": "fast", "num_inference_steps": 12},
        {"guidance_every": 3, "num_inference_steps": 12},
    ],
)
def test_every_setting_reaches_the_result(change, small_files, harbour, still):
    base = {"source": harbour, "references": (still,), "num_frames": 5, "num_inference_steps": 3}
    base["num_inference_steps"] = change.get("num_inference_steps", base["num_inference_steps"])
    before = frames_of(
        generate(plan(**{**base, **({"prompt": change["prompt"]} if "layout" in change else {})}), small_files)
    )
    assert not torch.equal(before, frames_of(generate(plan(**{**base, **change}), small_files)))


def test_the_mllm_is_gone_before_denoising_starts(small_files, harbour, monkeypatch):
    """When the DiT is loaded, nothing holds the MLLM's weights any more."""
    loaded, alive = [], []
    load_encoder, load_dit = pipeline.QwenEncoder.load, pipeline.load_dit

    def remembering(*args, **kwargs):
        encoder = load_encoder(*args, **kwargs)
        loaded.append(weakref.ref(encoder.model.language_model.embed_tokens.weight))
        return encoder

    def looking(*args, **kwargs):
        alive.extend(weight() is not None for weight in loaded)
        return load_dit(*args, **kwargs)

    monkeypatch.setattr(pipeline.QwenEncoder, "load", remembering)
    monkeypatch.setattr(pipeline, "load_dit", looking)
    generate(plan(source=harbour, num_frames=5), small_files)
    assert alive == [False]


def test_phases_steps_and_previews_are_reported(small_files):
    phases, steps, previews = [], [], []
    generate(
        plan(num_frames=5),
        small_files,
        progress=lambda r: steps.append(r.step),
        preview=previews.append,
        notify=phases.append,
    )
    assert phases[-1] == "denoising"
    assert phases[1] == "hashing the weights"
    assert len(phases) == 6
    assert steps == [1, 2]
    assert [tuple(picture.shape) for picture in previews] == [(2, 4, 3)] * 2
    assert previews[0].dtype == torch.uint8


def test_cancel_leaves_nothing(small_files, tmp_path):
    with pytest.raises(CancelledError, match="after step 1 of 2"):
        generate(plan(num_frames=5), small_files, progress=lambda report: False)
    assert list(tmp_path.iterdir()) == []


def test_frames_are_decoded_as_they_are_read(small_files):
    made = generate(plan(num_frames=9), small_files)
    assert [len(chunk) for chunk in made.frames] == [1, 4, 4]


def test_an_mllm_of_another_width_is_refused(small_files, golden_dir):
    wrong = replace(small_files, mllm=golden_dir / "models" / "tiny" / "qwen")
    with pytest.raises(ConfigError, match=r"MLLM of width 64.*--mllm"):
        generate(plan(num_frames=1), wrong)


def test_a_vae_that_is_none_is_refused(small_files):
    with pytest.raises(WeightsError):
        generate(plan(num_frames=1), replace(small_files, codec=small_files.dit))


def test_a_written_edit_keeps_length_rate_size_and_sound_and_tells_how_it_was_made(small_files, harbour, tmp_path):
    made = generate(plan(source=harbour, seed=11), small_files)
    path = tmp_path / "edit.mp4"
    write_output(made, path)
    info = probe(path)
    assert (info.num_frames, info.width, info.height, info.has_audio) == (49, 64, 32, True)
    assert info.fps == pytest.approx(24)
    metadata = read_metadata(path)
    assert metadata["seed"] == "11"
    assert metadata["rope_precision"] == "exact"
    assert "transformers" in json.loads(metadata["versions"])
    assert metadata["prompt"] == "a red boat"
    assert metadata["task"] == "edit-video"
    assert metadata["source"] == "harbour.mp4"
    assert len(metadata["weights_sha256"]) == 64
    assert json.loads(metadata["references"]) == []
    assert "/" not in metadata["weights"]
    compared = write_compare(made, path)
    assert compared == compare_path(path)
    assert probe(compared).width > 2 * 64
    assert probe(compared).num_frames == 49
    assert sorted(file.name for file in tmp_path.iterdir()) == ["edit.mp4", "edit_compare.mp4"]


def test_a_still_is_written_as_a_still(small_files, still, tmp_path):
    made = generate(plan(source=still), small_files)
    path = tmp_path / "still.png"
    write_output(made, path)
    assert probe(path).is_image
    assert read_clip(path).size == (64, 32)
    assert read_metadata(path)["task"] == "edit-image"
    assert probe(write_compare(made, path)).is_image


def test_a_file_that_ends_early_is_told_or_refused(small_files, harbour, tmp_path):
    """The header promises 49 frames; a quarter of the file is gone."""
    content = harbour.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(content[: len(content) * 3 // 4])
    told = []
    made = generate(plan(source=cut), small_files, notify=told.append)
    assert 1 < made.plan.num_frames < 49
    assert any("cut off" in line for line in told)
    with pytest.raises(MediaError, match=r"of 49 frames that can be read in cut\.mp4"):
        generate(plan(source=cut, num_frames=49), small_files)


def test_the_posterior_is_drawn_from_other_noise_than_the_run(small_files, harbour, golden_dir):
    """Both follow the seed, but equal noise would put the start of the run into the source."""
    pytest.importorskip("diffusers", reason="the Wan 2.2 VAE is diffusers' (extra `vae`)")
    files = replace(small_files, codec=golden_dir / "models" / "tiny" / "vae")
    chosen = {"source": harbour, "num_frames": 5}

    def draw(**change):
        conditions = pipeline.encode_conditions(
            plan(**{**chosen, **change}),
            Media(source=read_clip(harbour, max_frames=5, size=(64, 32)), references=()),
            EncodedPrompt(full=(), negative=()),
            codec=load_codec(files.codec),
        )
        return conditions[Branch.FULL].source_latents

    mode = draw(posterior="mode")
    sampled = draw()
    assert torch.equal(sampled, draw())
    assert not torch.equal(sampled, draw(seed=1))
    difference = (sampled - mode).flatten()
    noise = initial_noise((1, *mode.shape), seed=0).flatten()
    assert abs(torch.corrcoef(torch.stack((difference, noise)))[0, 1]) < 0.2
    assert difference.abs().max() > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16])
def test_low_precision_stays_close(small_files, harbour, dtype):
    chosen = plan(source=harbour, num_frames=5)
    exact = frames_of(generate(chosen, small_files)).float()
    low = frames_of(generate(chosen, small_files, compute=Compute(dtype=dtype))).float()
    assert (exact - low).abs().mean() < 4
    assert not torch.equal(exact, low)


def test_branches_of_no_weight_are_not_read(small_files, harbour, monkeypatch):
    asked = []
    encode = pipeline.QwenEncoder.encode

    def watching(self, *args, branches, **kwargs):
        asked.append(set(branches))
        return encode(self, *args, branches=branches, **kwargs)

    monkeypatch.setattr(pipeline.QwenEncoder, "encode", watching)
    for scales in ((2.5, 1.5), (2.5, 1.0), (1.0, 1.0)):
        chosen = plan(source=harbour, num_frames=5, guidance_scale=scales[0], visual_guidance_scale=scales[1])
        generate(chosen, small_files)
    assert asked == [set(Branch), {Branch.VISUAL, Branch.FULL}, {Branch.FULL}]


def test_tiles_follow_free_memory_on_a_gpu_alone(small_files, monkeypatch):
    """The GPU is played by a function that says how much is free."""
    codec = load_codec(small_files.codec)
    chosen = plan(width=1280, height=704, num_frames=5)
    gpu = Compute(device=torch.device("cuda"), codec_dtype=torch.bfloat16)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    for free, expects_tiles in ((80e9, False), (8e9, True)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (int(free), int(80e9)))
        pipeline.fit_tiles(codec, chosen, compute=gpu, direction="decode")
        assert (codec.tile_latents is not None) == expects_tiles
    codec.tile_latents = 12
    pipeline.fit_tiles(codec, chosen, compute=replace(gpu, tile_latents=12), direction="decode")
    pipeline.fit_tiles(codec, chosen, compute=Compute(), direction="decode")
    assert codec.tile_latents == 12


def test_measures_against_short_memory_change_no_picture(small_files, harbour, monkeypatch):
    asked = []
    load = pipeline.QwenEncoder.load

    def watching(*args, **kwargs):
        asked.append(kwargs["device"])
        return load(*args, **{**kwargs, "device": torch.device("cpu")})

    monkeypatch.setattr(pipeline.QwenEncoder, "load", watching)
    chosen = plan(source=harbour, num_frames=5)
    usual = frames_of(generate(chosen, small_files))
    elsewhere = torch.device("meta")  # stands for another device than that of the DiT
    sparing = Compute(mllm_device=elsewhere, keeps_keys_values=False)
    assert torch.equal(frames_of(generate(chosen, small_files, compute=sparing)), usual)
    assert asked == [torch.device("cpu"), elsewhere]


def test_the_chosen_attention_computes_every_call_of_the_blocks(small_files, monkeypatch):
    """A stand-in for a package: its kernel is torch's, so that the frames are the same."""
    called = []

    def kernel(queries, keys, values, *, tensor_layout):
        assert tensor_layout == "NHD"
        called.append(queries.shape[2])
        parts = (part.transpose(1, 2) for part in (queries, keys, values))
        return torch.nn.functional.scaled_dot_product_attention(*parts).transpose(1, 2)

    monkeypatch.setitem(sys.modules, "sageattention", SimpleNamespace(sageattn=kernel))
    chosen, half = plan(num_frames=1), Compute(dtype=torch.bfloat16)
    expected = frames_of(generate(chosen, small_files, compute=half))
    assert called == []
    made = generate(chosen, small_files, compute=replace(half, attention="sage"))
    assert torch.equal(frames_of(made), expected)
    assert made.metadata["attention"] == "sage"
    config, branches = small_files.dit_config(), 2  # of a prompt alone: full and unconditional
    assert called == [config.num_heads] * (2 * branches * SMALL["num_inference_steps"] * config.num_layers)


STREAMING = Compute(streamed_blocks=2, streams_mllm=True)


@pytest.mark.parametrize("given", [{"num_frames": 9}, {"references": "still", "num_frames": 5}, {"source": "still"}])
@pytest.mark.parametrize("keeps_keys_values", [True, False])
def test_streamed_weights_make_the_very_same_frames(small_files, still, given, keeps_keys_values):
    given = {name: still if value == "still" else value for name, value in given.items()}
    if "references" in given:
        given["references"] = (given["references"],)
    plain = Compute(keeps_keys_values=keeps_keys_values)
    expected = frames_of(generate(plan(**given), small_files, compute=plain))
    streaming = replace(STREAMING, keeps_keys_values=keeps_keys_values)
    assert torch.equal(frames_of(generate(plan(**given), small_files, compute=streaming)), expected)


@pytest.mark.parametrize("name", ["fp8", "int8", "gguf-q8_0", "gguf-q4_0"])
def test_streamed_quantised_weights_make_the_very_same_frames(small_files, still, tmp_path, name):
    """Of the DiT and of the MLLM with its vision tower."""
    pytest.importorskip("gguf", reason="two of the forms are GGUF's")
    scheme = SCHEMES[name]
    convert_checkpoint(small_files.dit, tmp_path / "dit", scheme=scheme)
    convert_qwen(small_files.mllm, tmp_path / "mllm", scheme=scheme)
    files = replace(small_files, dit=tmp_path / "dit", mllm=tmp_path / "mllm")
    chosen = plan(source=still)
    expected = frames_of(generate(chosen, files))
    assert torch.equal(frames_of(generate(chosen, files, compute=STREAMING)), expected)
    assert not torch.equal(frames_of(generate(chosen, small_files)), expected)


def test_a_dit_that_torchao_quantised_makes_nearly_the_same_frames(small_files, still):
    pytest.importorskip("torchao", reason="the optional extra torchao")
    chosen = plan(source=still)
    made = generate(chosen, small_files, compute=Compute(quantises="int8-torchao"))
    assert made.metadata["quantised"] == "int8-torchao"
    usual, found = frames_of(generate(chosen, small_files)), frames_of(made)
    assert 0 < (found.float() - usual.float()).square().mean().sqrt() < 3


def test_a_cancel_leaves_no_streamed_weights_behind(small_files):
    threads = threading.active_count()
    with pytest.raises(CancelledError) as caught:
        generate(plan(num_frames=5), small_files, compute=STREAMING, progress=lambda _report: False)
    del caught
    gc.collect()
    assert [thing for thing in gc.get_objects() if type(thing) is StreamedBlocks] == []
    assert threading.active_count() == threads
