"""Rows by segment, and attention that stays inside a segment."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from loom_core.models import segments
from loom_core.models.layers import gated_residual, norm_modulate
from loom_core.models.operations import TorchOperations
from loom_core.models.segments import SegmentAttention, SegmentRows, Segments, segment_rows

QUERIES, KEYS = (3, 3, 4, 4, 2), (5, 5, 5, 6, 1)
CPU = torch.device("cpu")


def packed(lengths, seed):
    return torch.randn(1, sum(lengths), 12, generator=torch.Generator().manual_seed(seed))


def one_by_one(queries, keys, values):
    parts = zip(queries.split(QUERIES, 1), keys.split(KEYS, 1), values.split(KEYS, 1), strict=True)
    return torch.cat([TorchOperations.attention(*part, num_heads=2) for part in parts], dim=1)


def test_attention_equals_one_segment_at_a_time():
    queries, keys, values = packed(QUERIES, 0), packed(KEYS, 1), packed(KEYS, 2)
    attention = SegmentAttention(QUERIES, KEYS, attend=TorchOperations.attention, device=CPU)
    torch.testing.assert_close(attention(queries, keys, values, num_heads=2), one_by_one(queries, keys, values))


def test_equal_neighbours_share_a_call():
    shapes = []

    def attend(queries, keys, values, *, num_heads, mask=None):
        shapes.append((tuple(queries.shape[:2]), tuple(keys.shape[:2])))
        return TorchOperations.attention(queries, keys, values, num_heads=num_heads, mask=mask)

    SegmentAttention(QUERIES, KEYS, attend=attend, device=CPU)(
        packed(QUERIES, 0), packed(KEYS, 1), packed(KEYS, 2), num_heads=2
    )
    assert shapes == [((2, 3), (2, 5)), ((1, 4), (1, 5)), ((1, 4), (1, 6)), ((1, 2), (1, 1))]


def test_the_kernel_of_variable_length_is_given_the_whole_pack(monkeypatch):
    """Where the device has one: heads apart, cumulated lengths, longest lengths; here by its definition on the CPU."""
    seen = []

    def kernel(queries, keys, values, starts_q, starts_k, longest_q, longest_k):
        seen.append((starts_q.tolist(), starts_k.tolist(), longest_q, longest_k))
        parts = []
        for i in range(len(starts_q) - 1):
            mine, theirs = slice(starts_q[i], starts_q[i + 1]), slice(starts_k[i], starts_k[i + 1])
            scores = torch.einsum("qhd,khd->hqk", queries[mine], keys[theirs]) * queries.shape[-1] ** -0.5
            parts.append(torch.einsum("hqk,khd->qhd", scores.softmax(-1), values[theirs]))
        return torch.cat(parts)

    attention = SegmentAttention(QUERIES, KEYS, attend=TorchOperations.attention, device=CPU)
    attention._varlen = segments.varlen_arguments(QUERIES, KEYS, CPU)
    monkeypatch.setattr(segments, "varlen_kernel", lambda: kernel)
    parts = [part.bfloat16() for part in (packed(QUERIES, 0), packed(KEYS, 1), packed(KEYS, 2))]
    torch.testing.assert_close(attention(*parts, num_heads=2), one_by_one(*parts), atol=2e-2, rtol=2e-2)
    assert seen == [([0, 3, 6, 10, 14, 16], [0, 5, 10, 15, 21, 22], 4, 6)]
    attention(*(part.float() for part in parts), num_heads=2)  # no kernel for float32
    assert len(seen) == 1


def test_another_s_attention_is_not_passed_over_on_a_gpu(monkeypatch):
    monkeypatch.setattr(segments, "varlen_kernel", lambda: print)
    monkeypatch.setattr(segments, "varlen_arguments", lambda *_: "made")
    other = partial(TorchOperations.attention)
    for attend, made in ((TorchOperations.attention, "made"), (other, None)):
        assert SegmentAttention(QUERIES, KEYS, attend=attend, device=torch.device("cuda"))._varlen == made


@pytest.mark.skipif(not torch.cuda.is_available(), reason="the kernel of variable length is CUDA's")
def test_the_kernel_of_variable_length_equals_the_loop():
    device = torch.device("cuda")
    parts = [torch.randn(1, sum(lengths), 64, device=device, dtype=torch.bfloat16) for lengths in (QUERIES, KEYS, KEYS)]
    attention = SegmentAttention(QUERIES, KEYS, attend=TorchOperations.attention, device=device)
    torch.testing.assert_close(attention(*parts, num_heads=2), one_by_one(*parts), atol=2e-2, rtol=2e-2)


def test_rows_of_a_table_with_and_without_the_timestep():
    table, time = torch.randn(1, 3, 5), torch.randn(2, 3, 5)
    values = segment_rows(table, time, Segments((4, 2, 4, 1), (0, 2, 1, 2)))
    for index, value in enumerate(values):
        chosen = list(value.of_segments())
        for row, sample in ((chosen[0], 0), (chosen[2], 1)):
            torch.testing.assert_close(row, (table[0] + time[sample])[index])
        assert torch.equal(chosen[1], table[0, index])
        assert torch.equal(chosen[3], table[0, index])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_modulation_and_gate_equal_a_row_for_every_token(dtype):
    """Values and gradients of tokens, updates and rows."""
    generator = torch.Generator().manual_seed(0)
    where = Segments((3, 2, 4, 1), (0, 2, 1, 2))
    tokens, update = torch.randn(2, 1, 10, 8, generator=generator).to(dtype).unbind(0)
    rows = [torch.randn(3, 8, generator=generator) for _ in range(3)]
    leaves = [leaf.requires_grad_(True) for leaf in (tokens, update, *rows)]
    index = torch.tensor(where.rows).repeat_interleave(torch.tensor(where.lengths))

    def gradients(modulated, gated):
        weights = torch.linspace(-1, 1, 80).view(1, 10, 8)
        return torch.autograd.grad(((modulated.float() + gated.float() * 2) * weights).sum(), leaves)

    shift, scale, gate = (SegmentRows(values, where) for values in rows)
    modulated = norm_modulate(tokens, shift, scale, num_target=7, eps=1e-6)
    gated = gated_residual(tokens, update, gate, num_target=7)
    assert modulated.dtype == gated.dtype == dtype
    shift, scale, gate = (values[index] for values in rows)
    normed = torch.nn.functional.layer_norm(tokens.float(), (8,), eps=1e-6)
    expected_modulated = (shift + normed * (1 + scale)).to(dtype)
    expected_gated = (tokens.float() + update.float() * gate).to(dtype)
    close = {} if dtype == torch.float32 else {"atol": 2e-2, "rtol": 2e-2}
    torch.testing.assert_close(modulated, expected_modulated, **close)
    torch.testing.assert_close(gated, expected_gated, **close)
    for actual, expected in zip(
        gradients(modulated, gated), gradients(expected_modulated, expected_gated), strict=True
    ):
        torch.testing.assert_close(actual, expected, **close)
