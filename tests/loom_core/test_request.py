"""Plans: what follows from a request, and what is refused before anything is loaded."""

from __future__ import annotations

import time

import pytest

from loom_core.config.presets import PRESETS, get_preset
from loom_core.errors import ConfigError, LoomError, MediaError
from loom_core.request import Request, plan_request
from loom_core.types import Task

TINY, OFFICIAL = PRESETS["tiny"], PRESETS["official"]


def test_tasks_are_inferred(harbour, still):
    def task(**given):
        return plan_request(Request(prompt="x", **given), TINY).task

    assert task() is Task.TEXT_TO_VIDEO
    assert task(num_frames=1) is Task.TEXT_TO_IMAGE
    assert task(source=harbour) is Task.EDIT_VIDEO
    assert task(source=harbour, num_frames=1) is Task.EDIT_IMAGE
    assert task(source=still) is Task.EDIT_IMAGE
    assert task(source=harbour, references=(still,)) is Task.REFERENCE_EDIT
    assert task(references=(still, still)) is Task.REFERENCE_TO_VIDEO
    assert task(references=(still,), num_frames=1) is Task.REFERENCE_TO_IMAGE


def test_named_tasks_are_checked_against_what_is_given(harbour, still):
    plan = plan_request(Request(prompt="x", task="t2i"), TINY)
    assert (plan.task, plan.num_frames, plan.is_image) == (Task.TEXT_TO_IMAGE, 1, True)
    refused = [
        {"task": "edit-video"},
        {"task": "mi2v"},
        {"task": "t2v", "source": harbour},
        {"task": "t2v", "references": (still,)},
        {"task": "edit-image", "source": harbour},
        {"task": "edit-video", "source": still},
        {"task": "t2i", "num_frames": 5},
        {"task": "dream"},
    ]
    for given in refused:
        with pytest.raises(ConfigError):
            plan_request(Request(prompt="x", **given), TINY)


def test_defaults_of_a_task(harbour, still):
    generation = plan_request(Request(prompt="x"), OFFICIAL)
    assert (generation.width, generation.height, generation.num_frames, generation.fps) == (832, 480, 81, 24)
    assert generation.sampling.guidance_scale == 5.0
    assert generation.sampling.visual_guidance_scale == 1.5
    assert generation.sampling.num_inference_steps == 50
    assert generation.sampling.shift == 5.0
    edit = plan_request(Request(prompt="x", source=harbour), OFFICIAL)
    assert edit.sampling.guidance_scale == 2.5
    assert (edit.width, edit.height, edit.num_frames) == (832, 480, 49)
    assert plan_request(Request(prompt="x", references=(still,)), OFFICIAL).width == 640


def test_what_is_asked_wins(harbour):
    request = Request(
        prompt="x", source=harbour, width=96, height=64, num_frames=17, fps=12, num_inference_steps=7,
        guidance_scale=3, visual_guidance_scale=1, shift=0, solver="euler",
    )  # fmt: skip
    plan = plan_request(request, OFFICIAL)
    assert (plan.width, plan.height, plan.num_frames, plan.fps) == (96, 64, 17, 12)
    sampling = plan.sampling
    assert (sampling.num_inference_steps, sampling.guidance_scale, sampling.visual_guidance_scale) == (7, 3, 1)
    assert (sampling.shift, sampling.solver) == (None, "euler")


def test_one_side_alone_keeps_the_shape(harbour):
    plan = plan_request(Request(prompt="x", source=harbour, width=160), TINY)
    assert (plan.width, plan.height) == (160, 96)
    plan = plan_request(Request(prompt="x", source=harbour, height=192), TINY)
    assert (plan.width, plan.height) == (320, 192)


def test_the_tiny_preset_keeps_the_area():
    assert TINY.size_like(832, 480, is_image=False) == (160, 96)
    assert TINY.size_like(480, 832, is_image=False) == (96, 160)
    assert TINY.size_like(3000, 3000, is_image=True) == (128, 128)


def test_unmentioned_references_are_told_when_others_are_mentioned(still):
    plan = plan_request(Request(prompt="in @Image 2", references=(still,) * 5), TINY)
    assert "never mentioned in the prompt: @Image 1, @Image 3–5" in plan.notices
    assert plan_request(Request(prompt="no mention", references=(still, still)), TINY).notices == ()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"num_frames": 98}, "98 frames; expected a count of the form 4k .* use 97 or 101"),
        ({"num_frames": 0}, "0 frames"),
        ({"num_frames": -3}, "-3 frames"),
        ({"num_frames": 100001}, "100001 frames; expected at most 481"),
        ({"width": 100, "height": 100}, "size 100x100; .* use 96x96"),
        ({"width": 833, "height": 480}, "use 832x480"),
        ({"width": 0, "height": 32}, "size 0x32"),
        ({"num_inference_steps": -1}, "-1 steps"),
        ({"guidance_scale": 1000.0}, "guidance_scale 1000"),
        ({"visual_guidance_scale": float("nan")}, "visual_guidance_scale nan"),
        ({"prompt": "put @Image 3 there"}, "@Image 3 in the prompt"),
        ({"fps": 0.0}, "rate of 0"),
        ({"fps": float("nan")}, "rate of nan"),
        ({"shift": -1.0}, "shift -1"),
        ({"solver": "dream"}, "solver 'dream'"),
        ({"seed": 2**64}, "seed 18446744073709551616"),
        ({"seed": -1}, "seed -1"),
        ({"width": 40960, "height": 32}, "at most 4096"),
        ({"posterior": "dream"}, "sample or mode"),
        ({"mllm_frames": 1}, "1 frames for the MLLM"),
        ({"layout": "dream"}, "layout 'dream'"),
        ({"source_strength": -1.0}, "source strength -1"),
        ({"source_strength": float("nan")}, "source strength nan"),
    ],
)
def test_nonsense_is_refused_within_a_second(given, words):
    start = time.perf_counter()
    with pytest.raises(ConfigError, match=words):
        plan_request(Request(**{"prompt": "x", **given}), TINY)
    assert time.perf_counter() - start < 1


def test_mentions_are_counted_against_references(harbour, still):
    with pytest.raises(ConfigError, match="@Image 3 in the prompt with 2 references"):
        plan_request(Request(prompt="as @Image 3", source=harbour, references=(still, still)), TINY)


def test_frames_must_exist_in_the_source(harbour, still):
    with pytest.raises(ConfigError, match="81 frames of a source that has 49"):
        plan_request(Request(prompt="x", source=harbour, num_frames=81), TINY)
    with pytest.raises(ConfigError, match="from a still image"):
        plan_request(Request(prompt="x", source=still, num_frames=5), TINY)


def test_a_long_source_is_cut_with_a_word(tmp_path):
    import torch

    from loom_core.media.encode import write_video

    path = tmp_path / "long.mp4"
    write_video(path, [torch.zeros(150, 32, 32, 3, dtype=torch.uint8)], fps=24, size=(32, 32))
    plan = plan_request(Request(prompt="x", source=path), TINY)
    assert plan.num_frames == 121
    assert any("first 5.0 s" in notice for notice in plan.notices)


def test_a_clip_longer_than_any_in_training_is_made_with_a_word():
    assert "121 frames" in plan_request(Request(prompt="x", num_frames=125), TINY).notices[0]
    assert plan_request(Request(prompt="x", num_frames=121), TINY).notices == ()


def test_media_that_cannot_be_read_is_refused(tmp_path):
    for name, content in (("missing.mp4", None), ("empty.mp4", b""), ("text.mp4", b"not a video" * 100)):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(MediaError, match=name):
            plan_request(Request(prompt="x", source=path), TINY)


def test_unknown_preset_is_refused():
    with pytest.raises(LoomError, match="one of official, draft, tiny"):
        get_preset("dream")


def test_a_preset_may_bring_its_own_guidance(harbour):
    sampling = plan_request(Request(prompt="x", source=harbour), TINY).sampling
    assert sampling.guidance_scale == TINY.guidance_scale
    assert sampling.visual_guidance_scale == TINY.visual_guidance_scale
    asked = plan_request(Request(prompt="x", source=harbour, guidance_scale=4.0), TINY).sampling
    assert asked.guidance_scale == 4.0


@pytest.fixture
def four_frames(tmp_path):
    import torch

    from loom_core.media.encode import write_video

    path = tmp_path / "four.mp4"
    write_video(path, [torch.zeros(4, 32, 32, 3, dtype=torch.uint8)], fps=24, size=(32, 32))
    return path


def test_a_clip_too_short_to_be_one_is_edited_as_a_still_with_a_word(four_frames):
    plan = plan_request(Request(prompt="x", source=four_frames), TINY)
    assert (plan.task, plan.num_frames) == (Task.EDIT_IMAGE, 1)
    assert "4 frames, too few for a clip" in plan.notices[0]


def test_a_clip_of_one_frame_may_be_edited_as_a_video(four_frames):
    plan = plan_request(Request(prompt="x", source=four_frames, task="edit-video"), TINY)
    assert (plan.task, plan.num_frames) == (Task.EDIT_VIDEO, 1)
