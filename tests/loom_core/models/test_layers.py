"""The time embedding and the two-row modulation."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from loom_core.models.layers import TwoRows, gated_residual, norm_modulate, sinusoidal_embedding, split_rows


def test_sinusoid_equals_diffusers():
    embeddings = pytest.importorskip("diffusers.models.embeddings", reason="diffusers is an extra")
    steps = torch.tensor([0, 1, 37, 500, 999])
    expected = embeddings.get_timestep_embedding(steps, 256, flip_sin_to_cos=True, downscale_freq_shift=0)
    torch.testing.assert_close(sinusoidal_embedding(steps, 256), expected, atol=1e-4, rtol=0)


def test_split_rows_adds_the_timestep_to_targets_alone():
    table, time = torch.randn(1, 3, 5), torch.randn(2, 3, 5)
    rows = split_rows(table, time, has_references=True)
    for index, row in enumerate(rows):
        torch.testing.assert_close(row.target, (table + time)[:, index : index + 1])
        torch.testing.assert_close(row.reference, table[:, index : index + 1])
    assert split_rows(table, time, has_references=False)[0].reference is None


@pytest.mark.parametrize("num_references", [0, 4])
def test_norm_modulate_and_gate_equal_a_row_for_every_token(num_references):
    """Two broadcast rows give what the official code's row a token gives."""
    generator = torch.Generator().manual_seed(0)
    tokens, update = torch.randn(2, 2, 6 + num_references, 8, generator=generator)

    def rows():
        target = torch.randn(2, 1, 8, generator=generator)
        return TwoRows(target, torch.randn(1, 1, 8, generator=generator) if num_references else None)

    def per_token(row):
        parts = [row.target.expand(2, 6, 8)]
        return torch.cat(parts + ([row.reference.expand(2, num_references, 8)] if num_references else []), dim=1)

    shift, scale, gate = rows(), rows(), rows()
    expected = functional.layer_norm(tokens, (8,), eps=1e-6) * (1 + per_token(scale)) + per_token(shift)
    torch.testing.assert_close(norm_modulate(tokens, shift, scale, num_target=6, eps=1e-6), expected)
    expected = tokens + update * per_token(gate)
    torch.testing.assert_close(gated_residual(tokens, update, gate, num_target=6), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("num_references", [0, 4])
def test_without_gradients_the_numbers_are_the_same(num_references, dtype):
    """Results are then written where they are wanted, in one kernel; inputs stay as they are."""
    generator = torch.Generator().manual_seed(1)
    tokens, update = torch.randn(2, 2, 6 + num_references, 8, generator=generator).to(dtype)
    shift, scale, gate = (
        TwoRows(torch.randn(2, 1, 8, generator=generator), torch.ones(1, 1, 8) if num_references else None)
        for _ in range(3)
    )
    before = tokens.clone(), update.clone()

    def both():
        return (
            norm_modulate(tokens, shift, scale, num_target=6, eps=1e-6),
            gated_residual(tokens, update, gate, num_target=6),
        )

    expected = both()
    with torch.no_grad():
        actual = both()
    assert all(torch.equal(*pair) for pair in zip(actual, expected, strict=True))
    assert all(result.dtype == dtype for result in actual)
    assert torch.equal(tokens, before[0]) and torch.equal(update, before[1])


def test_arithmetic_is_float32_and_the_dtype_returns():
    """A large constant survives in float32; a bfloat16 sum would lose the update."""
    tokens = torch.full((1, 1, 4), 256.0, dtype=torch.bfloat16)
    update = torch.full((1, 1, 4), 3.0, dtype=torch.bfloat16)
    result = gated_residual(tokens, update, TwoRows(torch.full((1, 1, 4), 0.75), None), num_target=1)
    assert result.dtype == torch.bfloat16
    assert torch.equal(result, torch.full_like(result, 258.0))
