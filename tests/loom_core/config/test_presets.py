"""Presets: every one can run, and results keep the shape of what they are made from."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loom_core.config.presets import PRESETS, REUSE_AFTER, get_preset, sampling_config
from loom_core.config.sampling import SamplingConfig
from loom_core.config.speed import SPEEDS, Shortcuts
from loom_core.errors import ConfigError
from loom_core.geometry import check_frames, check_size
from loom_core.sampling.solvers import get_solver
from loom_core.types import Task

EDIT, GENERATION = Task.EDIT_VIDEO, Task.TEXT_TO_VIDEO


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_run(name):
    preset = get_preset(name)
    check_size(preset.width, preset.height)
    check_frames(preset.num_frames)
    get_solver(preset.solver)
    SamplingConfig(num_inference_steps=preset.num_inference_steps, solver=preset.solver)
    assert preset.about


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("size", [(1920, 1080), (1080, 1920), (500, 500), (4000, 300)])
def test_sizes_follow_the_picture_and_are_allowed(name, size):
    preset = get_preset(name)
    width, height = preset.size_like(*size, is_image=False)
    check_size(width, height)
    assert (width > height) == (size[0] > size[1])
    if preset.bucket_side is None and size[0] == size[1]:
        assert (width, height) == (preset.width, preset.height)


def test_the_official_preset_takes_the_trained_sizes():
    assert get_preset("official").size_like(1920, 1080, is_image=False) == (832, 480)
    assert get_preset("official").size_like(1080, 1920, is_image=False) == (480, 832)


def test_an_unknown_preset_lists_the_known_ones():
    with pytest.raises(ConfigError, match=f"preset 'dream'.*{', '.join(PRESETS)}"):
        get_preset("dream")


@pytest.mark.parametrize(
    ("name", "task", "expected"),
    [
        ("official", Task.TEXT_TO_VIDEO, SamplingConfig()),
        ("official", Task.EDIT_VIDEO, SamplingConfig(guidance_scale=2.5)),
        (
            "tiny",
            Task.EDIT_VIDEO,
            SamplingConfig(num_inference_steps=12, guidance_scale=2.0, visual_guidance_scale=1.5),
        ),
    ],
)
def test_gaps_are_filled_from_preset_and_task(name, task, expected):
    assert sampling_config(get_preset(name), task) == expected


def test_what_is_asked_for_wins():
    asked = {
        "num_inference_steps": 7, "shift": 3.0, "guidance_scale": 0.0, "visual_guidance_scale": 2.0, "solver": "euler"
    }  # fmt: skip
    assert sampling_config(get_preset("tiny"), Task.EDIT_VIDEO, **asked) == SamplingConfig(**asked)


def test_shift_0_is_taken_from_the_token_count():
    assert sampling_config(get_preset("official"), Task.TEXT_TO_VIDEO, shift=0).shift is None


@pytest.mark.parametrize("speed", SPEEDS)
@pytest.mark.parametrize("name", PRESETS)
def test_a_speed_changes_what_is_left_out_and_nothing_else(name, speed):
    exact, chosen = (sampling_config(get_preset(name), Task.EDIT_VIDEO, **{"speed": one}) for one in ("exact", speed))
    assert exact.shortcuts == Shortcuts()
    assert chosen == replace(exact, shortcuts=SPEEDS[speed].shortcuts)


def test_early_steps_are_reused_of_edits_alone():
    """The layout of a generation is made there."""
    edit, made = (sampling_config(get_preset("tiny"), task, speed="fast").shortcuts for task in (EDIT, GENERATION))
    assert edit == SPEEDS["fast"].shortcuts
    assert made == replace(edit, reuse_after=REUSE_AFTER)
    assert sampling_config(get_preset("tiny"), GENERATION).shortcuts == Shortcuts()


def test_a_guidance_budget_joins_a_speed():
    made = sampling_config(get_preset("tiny"), Task.EDIT_VIDEO, speed="fast", guidance_every=3)
    assert made.shortcuts == replace(SPEEDS["fast"].shortcuts, guidance_every=3)
