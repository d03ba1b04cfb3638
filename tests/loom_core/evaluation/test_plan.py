"""Suites are balanced, repeatable, and what can be seen to be done."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice

import pytest
import torch

from loom_core.data.world.chance import is_for_training
from loom_core.data.world.edits import EDITS, OF_CLIPS_ONLY
from loom_core.errors import ConfigError
from loom_core.evaluation.judge import judge
from loom_core.evaluation.plan import REFERENCE_KINDS, SuitePlan, kinds_of, suite_samples
from loom_core.types import Task

ROUND = len(SuitePlan().cells)


def test_a_round_has_every_task_and_kind():
    cells = Counter(SuitePlan().cells)
    wanted = {(task.value, kind) for task in Task for kind in kinds_of(task, frames=9)}
    assert set(cells) == wanted
    assert {cell: count for cell, count in cells.items() if count != 1} == {
        ("text-to-video", "generate"): 4,
        ("text-to-image", "generate"): 4,
    }


def test_kinds_of_tasks():
    assert kinds_of(Task.EDIT_VIDEO, frames=5) == tuple(EDITS)
    assert set(kinds_of(Task.EDIT_IMAGE, frames=5)) == set(EDITS) - OF_CLIPS_ONLY
    assert set(kinds_of(Task.EDIT_VIDEO, frames=1)) == set(EDITS) - OF_CLIPS_ONLY
    assert kinds_of(Task.REFERENCE_EDIT, frames=5) == REFERENCE_KINDS


def test_even_a_short_suite_has_all_tasks():
    assert len({task for task, _ in SuitePlan().cells[:10]}) == len(Task)


def test_samples_are_of_their_cells_held_out_and_all_different():
    plan = SuitePlan(samples=ROUND + 2, frames=5)
    samples = list(suite_samples(plan))
    assert len({sample.key for sample in samples}) == len({sample.seed for sample in samples}) == ROUND + 2
    for sample, (task, kind) in zip(samples, plan.cells, strict=False):
        request = sample.world.request
        assert (request.task.name, request.kind) == (task, kind)
        assert not (is_for_training(request.after) and (request.before is None or is_for_training(request.before)))


def test_a_short_suite_is_the_beginning_of_a_long_one_and_another_seed_is_another():
    def frames(plan, count):
        return [sample.world.sample.target.frames for sample in islice(suite_samples(plan), count)]

    long, short = SuitePlan(samples=100, frames=5), SuitePlan(samples=4, frames=5)
    assert all(map(torch.equal, frames(long, 4), frames(short, 4)))
    assert not any(map(torch.equal, frames(replace(short, seed=1), 4), frames(short, 4)))


def test_no_sample_is_right_when_nothing_is_done():
    plan = SuitePlan(samples=12, frames=5, kinds=("background",), tasks=("edit-image",))
    for sample in suite_samples(plan):
        assert not judge(sample.world.request, sample.world.sample.source.frames, codec=None).is_right


def test_no_clip_of_one_frame_is_right_when_nothing_is_done():
    for sample in suite_samples(SuitePlan(samples=16, frames=1, tasks=("edit-video",))):
        request = sample.world.request
        verdict = judge(request, sample.world.sample.source.frames, codec=None)
        assert verdict.is_right == (request.kind == "keep")


def test_tasks_and_kinds_can_be_chosen():
    assert set(SuitePlan(tasks=("edit-image",), kinds=("recolour", "keep")).cells) == {
        ("edit-image", "recolour"),
        ("edit-image", "keep"),
    }


@pytest.mark.parametrize(
    "settings",
    [
        {"samples": 0},
        {"split": "test"},
        {"frames": 8},
        {"size": (100, 128)},
        {"tasks": ("edit",)},
        {"kinds": ("paint",)},
        {"tasks": ("edit-image",), "kinds": ("motion",)},
        {"tasks": ("edit-video",), "kinds": ("motion", "camera"), "frames": 1},
    ],
)
def test_what_makes_no_suite_is_refused(settings):
    with pytest.raises(ConfigError):
        SuitePlan(**settings)
