"""Rates, means and intervals of verdicts that were made up."""

from __future__ import annotations

import math

import pytest

from loom_core.data.tasks import training_task
from loom_core.data.world.edits import Ask
from loom_core.data.world.references import Reference
from loom_core.data.world.samples import Request
from loom_core.data.world.scene import Background, Scene
from loom_core.evaluation import scores
from loom_core.evaluation.collateral import Spill
from loom_core.evaluation.judge import AskVerdict, Verdict
from loom_core.evaluation.scores import Rate, Score

SCENE = Scene((), Background("grey", (125, 125, 125)))
REFERENCE = Reference("background", background=SCENE.background)


def score(task, kind, *rights, references=0, psnr=None, spilled=None):
    """A score with an ask for each right or wrong answer; references show the first of them."""
    asks = [Ask("background", None, number + 1 if number < references else None) for number in range(len(rights))]
    verdicts = tuple(
        AskVerdict(ask, is_right, "plain grey", 1.0, 9.0) for ask, is_right in zip(asks, rights, strict=True)
    )
    before = SCENE if "edit" in task else None
    request = Request(training_task(task), kind, "Do it.", before, SCENE, tuple(asks), (REFERENCE,) * references)
    return Score("key", request, Verdict(verdicts, (), all(rights), 1.0, SCENE, spilled), unchanged_psnr=psnr)


MANY = [
    score("edit-video", "recolour", True, psnr=30.0),
    score("edit-video", "recolour", False, psnr=20.0),
    score("edit-image", "recolour", True),
    score("edit-image", "background", True),
    score("text-to-video", "generate", True, False),
    score("reference-edit", "2 references", True, False, references=2, psnr=math.inf),
    score("reference-to-video", "1 reference", True, True, references=1),
]


def test_rates_by_task_and_kind():
    assert scores.per_task(MANY)["edit-video"] == Rate(1, 2)
    assert scores.per_task(MANY)["reference-edit"] == Rate(0, 1)
    assert scores.per_edit_kind(MANY) == {"recolour": Rate(2, 3), "background": Rate(1, 1)}
    assert scores.per_task_and_kind(MANY)["edit-image", "background"] == Rate(1, 1)


def test_what_was_asked_counts_by_itself():
    """A right ask beside damage is no success, but it is what was asked."""
    damaged = [*MANY, score("edit-image", "recolour", True, spilled=Spill("the ring", 40.0, 12.0))]
    assert scores.per_task(damaged)["edit-image"] == Rate(2, 3)
    assert scores.per_task(damaged, scores.as_asked)["edit-image"] == Rate(3, 3)
    assert scores.per_edit_kind(damaged)["recolour"] == Rate(2, 4)
    assert scores.per_edit_kind(damaged, scores.as_asked)["recolour"] == Rate(3, 4)
    assert scores.per_task_and_kind(damaged, scores.as_asked)["edit-image", "recolour"] == Rate(2, 2)
    assert scores.mean_over_tasks(damaged) < scores.mean_over_tasks(damaged, scores.as_asked)


def test_asks_and_references_count_one_by_one():
    assert scores.per_ask(MANY) == {"background": Rate(7, 10)}
    assert scores.per_reference_count(MANY) == {1: Rate(1, 1), 2: Rate(1, 2)}
    assert scores.per_reference_part(MANY) == {"background": Rate(2, 3)}


def test_the_mean_is_over_tasks_not_samples():
    assert scores.mean_over_tasks(MANY) == pytest.approx((0.5 + 1 + 0 + 0 + 1) / 5)


def test_what_could_not_be_judged_is_left_out():
    unseen = score("edit-video", "recolour", True)
    unseen = Score("key", unseen.request, Verdict((), (), False, 1.0, SCENE))
    assert not unseen.is_valid
    assert scores.per_task([*MANY, unseen]) == scores.per_task(MANY)


def test_keeping_everything_asks_nothing_and_is_judged():
    assert score("edit-video", "keep").is_valid


def test_the_interval_holds_the_mean_and_narrows():
    few = MANY[:2] * 5
    low, high = scores.mean_interval(few)
    assert low < scores.mean_over_tasks(few) < high
    narrow = scores.mean_interval(few * 16)
    assert narrow[1] - narrow[0] < (high - low) / 2


@pytest.mark.parametrize(
    ("rate", "low", "high"),
    [
        (Rate(0, 10), 0.0, 0.2775),
        (Rate(5, 10), 0.2366, 0.7634),
        (Rate(81, 263), 0.2553, 0.3662),
        (Rate(1, 1), 0.2065, 1),
    ],
)
def test_wilsons_interval_is_the_published_one(rate, low, high):
    """Source of 81 of 263: Newcombe, "Two-sided confidence intervals for the single proportion", 1998, method 3."""
    assert scores.wilson_interval(rate) == pytest.approx((low, high), abs=5e-5)


def test_tasks_that_are_all_right_or_all_wrong_leave_a_doubt():
    right, wrong = score("edit-image", "recolour", True), score("text-to-image", "generate", False)
    low, high = scores.mean_interval([right, wrong])
    assert low < 0.2
    assert high > 0.8
    with_zeros = scores.mean_interval(MANY[:2] * 50 + [wrong] * 21)
    without = [edge / 2 for edge in scores.mean_interval(MANY[:2] * 50)]
    assert with_zeros[1] - with_zeros[0] > without[1] - without[0]


def test_the_interval_of_one_task_is_wilsons():
    assert scores.mean_interval(MANY[:2] * 5) == pytest.approx(scores.wilson_interval(Rate(5, 10)))


def test_means_of_measures_leave_out_what_is_undefined():
    assert scores.mean_of(MANY, lambda one: one.unchanged_psnr) == pytest.approx((30 + 20 + 100) / 3)
    assert scores.mean_of(MANY, lambda one: one.flicker) is None


def test_nothing_at_all():
    assert math.isnan(scores.mean_over_tasks([]))
    assert all(map(math.isnan, scores.mean_interval([])))
