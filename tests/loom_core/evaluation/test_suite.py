"""A suite from samples to scores, with a model that is replaced by one that knows the answers."""

from __future__ import annotations

import math

import pytest

from loom_core.evaluation.plan import SuitePlan
from loom_core.evaluation.suite import run_suite


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


def test_large_suites_go_in_pieces():
    plan = SuitePlan(samples=18, frames=5, tasks=("edit-image",))
    answers = list(run_suite(plan, Oracle(obeys=True), batch_size=1))
    assert len({answer.sample.key for answer in answers}) == 18
