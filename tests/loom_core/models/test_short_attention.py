"""Attention over short segments against torch's, one segment at a time: values, gradients, groups."""

from __future__ import annotations

import pytest
import torch

from loom_core.models.operations import TorchOperations
from loom_core.models.short_attention import MOST_SCORES, Group, groups_of, is_short, short_attention

QUERIES, KEYS = (3, 3, 4, 4, 2), (5, 7, 5, 5, 1)


def random_pack(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return [
        (2 * torch.randn(sum(lengths), 12, generator=generator)).to(dtype).requires_grad_(True)
        for lengths in (QUERIES, KEYS, KEYS)
    ]


def one_by_one(queries, keys, values):
    parts = zip(queries.split(QUERIES), keys.split(KEYS), values.split(KEYS), strict=True)
    return torch.cat([TorchOperations.attention(*(x[None] for x in part), num_heads=2)[0] for part in parts])


def with_gradients(output, leaves):
    weights = torch.linspace(-1, 1, output.numel()).view_as(output)
    return output, *torch.autograd.grad((output.float() * weights).sum(), leaves)


def test_groups_are_neighbours_of_equal_query_length():
    assert groups_of(QUERIES, KEYS) == (Group(3, (5, 7)), Group(4, (5, 5)), Group(2, (1,)))
    assert groups_of((3, 4, 3), (1, 1, 1)) == (Group(3, (1,)), Group(4, (1,)), Group(3, (1,)))


def test_equals_torchs_attention_with_gradients():
    leaves = random_pack()
    actual = with_gradients(short_attention(*leaves, groups_of(QUERIES, KEYS), num_heads=2), leaves)
    for mine, plain in zip(actual, with_gradients(one_by_one(*leaves), leaves), strict=True):
        torch.testing.assert_close(mine, plain)


@pytest.mark.parametrize("autocast", [False, True])
def test_bfloat16_is_as_close_to_float32_as_torchs_own(autocast):
    leaves = random_pack(torch.bfloat16)
    exact = [leaf.detach().float().requires_grad_(True) for leaf in leaves]
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        output = short_attention(*leaves, groups_of(QUERIES, KEYS), num_heads=2)
    for mine, plain in zip(with_gradients(output, leaves), with_gradients(one_by_one(*exact), exact), strict=True):
        assert mine.dtype == torch.bfloat16
        assert (mine.float() - plain).norm() < 1e-2 * plain.norm()


def test_padding_is_undone():
    group = Group(3, (2, 4, 1))
    tokens = torch.arange(14.0).view(7, 2)
    padded = group.pad(tokens)
    assert padded.shape == (3, 4, 2)
    assert not padded[0, 2:].any()
    assert torch.equal(group.unpad(padded), tokens)


def test_long_segments_are_left_to_torch():
    assert is_short(groups_of((512, 4), (MOST_SCORES // 512, 9)))
    assert not is_short(groups_of((4, 512), (9, MOST_SCORES // 512 + 1)))
