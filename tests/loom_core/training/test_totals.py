"""Sums of a step: the mean is over elements, whatever ranks and tasks they are of."""

from __future__ import annotations

import pytest
import torch

from loom_core.training.ranks import OneRank
from loom_core.training.totals import totals_of


class Twice(OneRank):
    """Stands for a second rank that has the same."""

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        return 2 * values


def test_a_loss_is_a_mean_over_elements_of_all_samples(sample_of):
    small, large = sample_of(0, seed=0, task="text-to-image"), sample_of(1, seed=1, task="text-to-video", frames=3)
    totals = totals_of([small, large, large], [10.0, 3.0, 5.0], bad_samples=2, ranks=OneRank())
    elements = small.target.numel(), large.target.numel()
    assert elements[1] == 3 * elements[0]
    assert totals.by_task == {"text-to-image": (10.0, elements[0]), "text-to-video": (8.0, 2 * elements[1])}
    assert totals.loss == pytest.approx(18 / (7 * elements[0]))
    assert totals.loss_by_task["text-to-video"] == pytest.approx(8 / (6 * elements[0]))
    assert (totals.samples, totals.bad_samples) == (3, 2)
    assert totals.tokens == small.shift_tokens + 2 * large.shift_tokens


def test_ranks_are_added_up(sample_of):
    sample = sample_of(0, seed=0)
    one, two = (totals_of([sample], [4.0], bad_samples=1, ranks=ranks) for ranks in (OneRank(), Twice()))
    assert (two.samples, two.tokens, two.bad_samples) == (2, 2 * one.tokens, 2)
    assert two.loss == one.loss
