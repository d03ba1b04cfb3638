"""A suite from samples to scores, with a model that is replaced by one that knows the answers."""

from __future__ import annotations

import math

import pytest

from loom_core.data.world.render import render
from loom_core.evaluation.arrangement import room, shifted
from loom_core.evaluation.measures import motion_agreement
from loom_core.evaluation.plan import SuitePlan, suite_samples
from loom_core.evaluation.suite import run_suite, score_answer


class Oracle:
    """Answers with the truth, or leaves a source as it is; out of order, as batches of several sizes come."""

    codec = None

    def __init__(self, *, obeys: bool) -> None:
        self.obeys = obeys

    def answer(self, samples, *, progress):
        for index, (sample, _) in reversed(list(enumerate(samples))):
            yield index, (sample.target if self.obeys else sample.source).frames
            progress(1)


PLAN = SuitePlan(samples=10, frames=5, tasks=("edit-video",))


@pytest.mark.parametrize("obeys", [True, False])
def test_obedience_is_all_that_counts(obeys):
    told = []
    answers = list(run_suite(PLAN, Oracle(obeys=obeys), batch_size=8, progress=lambda *numbers: told.append(numbers)))
    assert [answer.score.key for answer in answers] == [answer.sample.key for answer in answers]
    assert told == [(number, 10) for number in range(1, 11)]
    for answer in answers:
        assert answer.score.verdict.is_right == (obeys or answer.score.request.kind == "keep")
        assert answer.score.unchanged_psnr in (None, math.inf)
        assert answer.score.sharpness > 0


def test_what_is_made_anew_is_measured_where_it_stands():
    (sample,) = suite_samples(SuitePlan(samples=1, frames=5, tasks=("text-to-video",), seed=3))
    request = sample.world.request
    assert any(thing.motion != "stays still" for thing in request.after.things)
    (left, right), (up, down) = room(request.after)
    elsewhere = shifted(request.after, left or right, up or down)
    output = render(elsewhere, num_frames=5).frames
    score = score_answer(sample, output, codec=None)
    assert score.verdict.is_right
    assert score.motion_agreement > 0.7 > 0.4 > motion_agreement(output, request)
    assert score.flicker < 1


def test_large_suites_go_in_pieces():
    plan = SuitePlan(samples=18, frames=5, tasks=("edit-image",))
    answers = list(run_suite(plan, Oracle(obeys=True), batch_size=1))
    assert len({answer.sample.key for answer in answers}) == 18
