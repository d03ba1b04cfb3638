"""Rotary tables and the turn."""

from __future__ import annotations

import math

import pytest
import torch

from loom_core.geometry import LatentShape
from loom_core.models.rope import (
    RopeTable,
    apply_rope,
    axis_dims,
    reference_temporal_index,
    rope_table,
    shared_tables,
)


@pytest.mark.parametrize(
    ("head_dim", "dims"), [(128, (44, 42, 42)), (24, (8, 8, 8)), (64, (24, 20, 20)), (6, (2, 2, 2))]
)
def test_axis_dims(head_dim, dims):
    assert axis_dims(head_dim) == dims


def test_references_sit_at_negative_time():
    assert [reference_temporal_index(n) for n in range(3)] == [-10, -20, -30]


def test_angles_of_one_token_by_hand():
    table = rope_table(LatentShape(3, 4, 6), 24)
    token = 2 * (2 * 3) + 1 * 3 + 2  # frame 2, row 1, column 2
    angles = [place / 10000 ** (2 * pair / 8) for place in (2, 1, 2) for pair in range(4)]
    torch.testing.assert_close(table.cos[0, token], torch.tensor([math.cos(a) for a in angles]))
    torch.testing.assert_close(table.sin[0, token], torch.tensor([math.sin(a) for a in angles]))


def test_all_frames_of_a_reference_share_one_time():
    table = rope_table(LatentShape(3, 2, 4), 24, temporal_index=-20)
    frames = table.cos[0].reshape(3, 2, 12)
    assert torch.equal(frames[0], frames[1])
    assert torch.equal(frames[0], frames[2])
    torch.testing.assert_close(table.sin[0, 0, 0], torch.tensor(math.sin(-20.0)))


def test_rounded_tables_are_bfloat16_values_but_for_a_references_time():
    target = rope_table(LatentShape(2, 4, 4), 24, rounded=True)
    assert torch.equal(target.cos, target.cos.bfloat16().float())
    reference = rope_table(LatentShape(1, 4, 4), 24, temporal_index=-10, rounded=True)
    time, space = reference.cos[..., :4], reference.cos[..., 4:]
    assert torch.equal(space, space.bfloat16().float())
    assert torch.equal(time, rope_table(LatentShape(1, 4, 4), 24, temporal_index=-10).cos[..., :4])


def test_turn_keeps_lengths_and_depends_on_distance_alone():
    """The product of a query and a key turned by their places depends on the difference of the places."""
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 1, 1, 24, generator=generator)
    scores = []
    for shift in (0, 5):
        table = rope_table(LatentShape(12, 2, 2), 24)

        def at(place, table=table):
            return RopeTable(table.cos[:, place : place + 1], table.sin[:, place : place + 1])

        turned = apply_rope(query, at(1 + shift), num_heads=1)
        torch.testing.assert_close(turned.norm(), query.norm())
        scores.append((turned * apply_rope(key, at(4 + shift), num_heads=1)).sum())
    torch.testing.assert_close(scores[0], scores[1], atol=1e-5, rtol=1e-5)


def test_turn_keeps_the_dtype():
    table = rope_table(LatentShape(1, 2, 2), 24)
    assert apply_rope(torch.zeros(1, 1, 48, dtype=torch.bfloat16), table, num_heads=2).dtype == torch.bfloat16


def test_append_repeats_over_the_batch():
    target = rope_table(LatentShape(1, 2, 4), 24)
    other = RopeTable(torch.ones(3, 5, 12), torch.zeros(3, 5, 12))
    joined = target.append(other)
    assert joined.cos.shape == (3, 7, 12)
    assert torch.equal(joined.cos[2, :2], target.cos[0])
    assert torch.equal(joined.sin[1, 2:], torch.zeros(5, 12))


def test_the_complex_product_equals_the_real_one(monkeypatch):
    """A CPU takes one, other devices and compilers the other; both have gradients."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(2, 8, 48, generator=generator, requires_grad=True)
    table = rope_table(LatentShape(2, 4, 4), 24)
    results = []
    for is_compiling in (False, True):
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda value=is_compiling: value)
        turned = apply_rope(x, table, num_heads=2)
        results.append((turned, *torch.autograd.grad(turned.pow(3).sum(), x)))
    for first, second in zip(*results, strict=True):
        torch.testing.assert_close(first, second)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_queries_and_keys_are_left_as_they_were(dtype):
    x = torch.randn(1, 8, 48, generator=torch.Generator().manual_seed(3)).to(dtype)
    before, table = x.clone(), rope_table(LatentShape(2, 4, 4), 24)
    expected = apply_rope(x, table, num_heads=2)
    with torch.no_grad():
        assert torch.equal(apply_rope(x, table, num_heads=2), expected)
    assert torch.equal(x, before)


def test_shared_tables_are_made_once_each():
    make = shared_tables(24, rounded=True)
    shape = LatentShape(1, 4, 4)
    tables = [make(shape), make(shape, temporal_index=-10), make(shape, temporal_index=-20)]
    for table, index in zip(tables, (None, -10, -20), strict=True):
        expected = rope_table(shape, 24, temporal_index=index, rounded=True)
        assert torch.equal(table.cos, expected.cos) and torch.equal(table.sin, expected.sin)
    assert make(LatentShape(1, 4, 4)) is tables[0]
    assert make(LatentShape(1, 4, 4), temporal_index=-20) is tables[2]
