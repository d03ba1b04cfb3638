"""In-context references as tokens."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from loom_core.errors import ConfigError
from loom_core.geometry import LatentShape
from loom_core.models.references import reference_tokens
from loom_core.models.rope import rope_table, shared_tables
from loom_core.models.source import patchify
from loom_core.types import Condition, Reference

TARGET = torch.zeros(2, 4, 1, 4, 4)


@pytest.fixture
def embedding():
    return nn.Conv3d(4, 6, kernel_size=(1, 2, 2), stride=(1, 2, 2)).requires_grad_(False)


def reference(frames, height, width, *, index=None):
    return Reference(torch.randn(4, frames, height, width), index)


def tokens_of(embedding, *samples):
    conditions = [Condition((), None, tuple(references)) for references in samples]
    target, make_table = TARGET[: len(samples)], shared_tables(12)
    return reference_tokens(embedding, conditions, target, dim=6, head_dim=12, make_table=make_table)


def test_nobody_has_one(embedding):
    assert tokens_of(embedding, [], []) is None


def test_each_keeps_its_size_and_its_time(embedding):
    first, second = reference(1, 2, 4), reference(2, 4, 2, index=-7)
    result = tokens_of(embedding, [first, second])
    assert result.mask is None
    expected = [patchify(embedding, item.latents[None])[0] for item in (first, second)]
    torch.testing.assert_close(result.tokens[0], torch.cat(expected))
    tables = [
        rope_table(LatentShape(1, 2, 4), 12, temporal_index=-10),
        rope_table(LatentShape(2, 4, 2), 12, temporal_index=-7),
    ]
    torch.testing.assert_close(result.rope.cos, torch.cat([table.cos for table in tables], dim=1))
    torch.testing.assert_close(result.rope.sin, torch.cat([table.sin for table in tables], dim=1))


def test_a_batch_is_padded_and_masked(embedding):
    result = tokens_of(embedding, [reference(1, 2, 4)], [])
    assert result.tokens.shape == (2, 2, 6)
    assert result.mask.tolist() == [[True, True], [False, False]]


@pytest.mark.parametrize("shape", [(3, 1, 2, 2), (4, 1, 3, 2), (4, 1, 2, 5), (4, 0, 2, 2)])
def test_sizes_that_make_no_tokens_are_refused(embedding, shape):
    with pytest.raises(ConfigError, match=r"reference latents of size.*expected.*to fix"):
        tokens_of(embedding, [Reference(torch.zeros(shape))])
