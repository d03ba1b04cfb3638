"""The table of training tasks."""

from __future__ import annotations

import pytest

from loom_core.data.tasks import TRAINING_TASKS, training_task
from loom_core.errors import ConfigError
from loom_core.mllm.prompts import TASKS, Part
from loom_core.types import Task

PREFIX, SOURCE, REFERENCES, INSTRUCTION = Part.PREFIX, Part.SOURCE, Part.REFERENCES, Part.INSTRUCTION

OFFICIAL = {
    "text-to-video": ("Generate a video: ", (PREFIX, INSTRUCTION)),
    "text-to-image": ("Generate an image: ", (PREFIX, INSTRUCTION)),
    "edit-video": ("Edit this video: ", (PREFIX, SOURCE, REFERENCES, INSTRUCTION)),
    "edit-image": ("Edit this image: ", (PREFIX, SOURCE, REFERENCES, INSTRUCTION)),
    "reference-edit": ("Edit this video with reference images: ", (PREFIX, SOURCE, REFERENCES, INSTRUCTION)),
    "reference-to-video": ("Generate a video with reference images: ", (PREFIX, INSTRUCTION, REFERENCES)),
    "reference-to-image": ("Generate an image with reference images: ", (PREFIX, INSTRUCTION, REFERENCES)),
    "reconstruct-image": ("Reconstruct this image: ", (PREFIX, SOURCE)),
    "reconstruct-video": ("Reconstruct this video: ", (PREFIX, SOURCE)),
}
"""Prefixes and orders of the official `processors.py`."""


@pytest.mark.parametrize("name", OFFICIAL)
def test_prefix_and_order(name):
    task = training_task(name)
    assert (task.name, task.prefix, task.order) == (name, *OFFICIAL[name])


def test_no_other_tasks():
    assert set(TRAINING_TASKS) == set(OFFICIAL)


def test_every_inference_task_is_trained_with_the_same_needs():
    for task in Task:
        ours = TRAINING_TASKS[task.value]
        assert ours.inference_task is task
        assert (ours.needs_source, ours.needs_references) == (TASKS[task].needs_source, TASKS[task].needs_references)
        assert not ours.is_reconstruction


def test_what_a_task_needs_is_in_its_order():
    for task in TRAINING_TASKS.values():
        assert not task.needs_source or SOURCE in task.order
        assert not task.needs_references or REFERENCES in task.order
        assert task.is_reconstruction or INSTRUCTION in task.order


def test_tasks_of_one_frame():
    images = {name for name, task in TRAINING_TASKS.items() if task.is_image}
    assert images == {"text-to-image", "edit-image", "reference-to-image", "reconstruct-image"}


def test_reconstruction_edits_the_target_itself():
    assert {name for name, task in TRAINING_TASKS.items() if task.is_reconstruction} == {
        "reconstruct-image",
        "reconstruct-video",
    }
    assert all(task.needs_source for task in TRAINING_TASKS.values() if task.is_reconstruction)


def test_an_unknown_name():
    with pytest.raises(ConfigError, match=r"unknown training task 'edit-vidoe'.*did you mean 'edit-video'"):
        training_task("edit-vidoe")
    with pytest.raises(ConfigError, match="correct the name"):
        training_task("dance")
