"""Attention with the heads shared out over two processes equals attention in one."""

from __future__ import annotations

import pytest
import torch

from loom_core.distributed.ulysses import UlyssesAttention, check_heads
from loom_core.errors import ConfigError
from loom_core.models.operations import TorchOperations

HEADS, WIDTH = 4, 32


def made(tokens: int) -> torch.Tensor:
    return torch.randn(3, 2, tokens, WIDTH, generator=torch.Generator().manual_seed(tokens))


def attended(ranks, tokens, mask):
    whole = made(tokens)
    run = -(-tokens // ranks.size)
    padded = torch.nn.functional.pad(whole, (0, 0, 0, run * ranks.size - tokens), value=7.0)
    own = padded[:, :, ranks.rank * run : (ranks.rank + 1) * run]
    attention = UlyssesAttention(TorchOperations.attention, tokens=tokens)
    return attention(*own, num_heads=HEADS, mask=mask)


@pytest.mark.parametrize("tokens", [8, 7, 1])
@pytest.mark.parametrize("is_masked", [False, True])
def test_two_ranks_attend_as_one_does(processes, tokens, is_masked):
    mask = torch.ones(2, tokens, dtype=torch.bool)
    mask[1, max(1, tokens // 2) :] = False
    mask = mask if is_masked else None
    runs = processes.in_ranks(attended, tokens, mask)
    found = torch.cat(runs, dim=1)[:, :tokens]
    expected = TorchOperations.attention(*made(tokens), num_heads=HEADS, mask=mask)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_heads_that_do_not_divide_are_refused():
    check_heads(24, 8)
    with pytest.raises(ConfigError, match="5 processes for a model of 24 attention heads; expected 1, 2, 3, 4, 6, 8"):
        check_heads(24, 5)
