"""A single process adds nothing up."""

from __future__ import annotations

import torch

from loom_core.training.ranks import OneRank


def test_one_rank_is_the_whole():
    ranks = OneRank()
    values = torch.arange(3.0)
    assert (ranks.rank, ranks.size) == (0, 1)
    assert torch.equal(ranks.sum(values), values)
    assert ranks.gather({"next": 3}) == [{"next": 3}]
