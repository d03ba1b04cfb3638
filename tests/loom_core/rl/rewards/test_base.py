"""A weighted sum of rewards, and rewards that make no sense."""

from __future__ import annotations

import pytest
import torch

from loom_core.errors import TrainingError
from loom_core.rl.rewards.base import RewardSum, checked


@pytest.fixture
def outcomes(make_outcome):
    return [make_outcome(torch.zeros(1, 4, 4, 3, dtype=torch.uint8)) for _ in range(3)]


def test_the_weighted_sum(outcomes):
    rewards = RewardSum(
        {
            "first": (lambda each: torch.arange(len(each)), 2.0),
            "second": (lambda each: torch.ones(len(each), dtype=torch.float64), -0.5),
        }
    )
    found = rewards(outcomes)
    assert found.total.tolist() == [-0.5, 1.5, 3.5]
    assert found.parts["first"].tolist() == [0, 1, 2]
    assert found.total.dtype == torch.float32


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (torch.zeros(2), r"the reward mine, which gave \[2\] for 3 answers; expected a tensor \[3\]"),
        (torch.zeros(3, 1), r"gave \[3, 1\] for 3"),
        (torch.zeros(()), r"gave \[\] for 3"),
        ([0.0, 1.0, 2.0], "gave list for 3"),
        (None, "gave NoneType for 3"),
        (torch.tensor([0.0, float("nan"), float("nan")]), r"gave nan for an answer to prompt 0 \(2 of 3"),
        (torch.tensor([0.0, 1.0, float("inf")]), "gave inf"),
    ],
)
def test_what_is_no_number_an_answer_is_an_error(outcomes, values, message):
    with pytest.raises(TrainingError, match=message):
        checked("mine", values, outcomes)
    with pytest.raises(TrainingError, match="mine"):
        RewardSum({"mine": (lambda _: values, 1.0)})(outcomes)


def test_outcomes_are_equal_to_themselves_alone(outcomes):
    assert len({*outcomes, outcomes[0]}) == 3
