"""Ranges of the sampling settings, and what each task takes by default."""

from __future__ import annotations

import math

import pytest

from loom_core.config.sampling import (
    DEFAULT_NEGATIVE_PROMPT,
    EDIT_TASKS,
    IMAGE_TASKS,
    REFERENCE_TASKS,
    SamplingConfig,
    default_guidance_scale,
)
from loom_core.errors import ConfigError
from loom_core.types import Task


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"num_inference_steps": 0}, "0 steps"),
        ({"num_inference_steps": 1001}, "1001 steps"),
        ({"guidance_scale": -0.1}, "guidance_scale -0.1"),
        ({"guidance_scale": math.nan}, "guidance_scale nan"),
        ({"visual_guidance_scale": 30.5}, "visual_guidance_scale 30.5"),
        ({"shift": 0.0}, "shift 0"),
        ({"shift": math.inf}, "shift inf"),
    ],
)
def test_settings_out_of_range_are_refused(settings, said):
    with pytest.raises(ConfigError, match=f"{said}.*expected.*to fix"):
        SamplingConfig(**settings)


def test_the_ends_of_the_ranges_are_welcome():
    SamplingConfig(num_inference_steps=1, guidance_scale=0, visual_guidance_scale=30, shift=None)
    SamplingConfig(num_inference_steps=1000, guidance_scale=30, shift=1e-3)


def test_every_task_has_its_published_guidance():
    assert {default_guidance_scale(task) for task in EDIT_TASKS} == {2.5}
    assert {default_guidance_scale(task) for task in set(Task) - EDIT_TASKS} == {5.0}


def test_names_and_sets_of_tasks_agree():
    """A task's own name says what it needs and makes."""
    for task in Task:
        words = set(task.value.split("-"))
        assert (task in EDIT_TASKS) == ("edit" in words), task
        assert (task in REFERENCE_TASKS) == ("reference" in words), task
        assert (task in IMAGE_TASKS) == ("image" in words), task


def test_the_negative_prompt_has_the_official_beginning():
    """parity: the negative prompt of clips, too, begins as an image's does, and once."""
    assert DEFAULT_NEGATIVE_PROMPT.split("色调艳丽")[0] == "Generate an image: "
