"""Small parts of a block: the time embedding and the modulation by few rows.

Only two distinct modulation rows exist in a sample: that of the target tokens (the timestep's) and that of the
reference tokens (none). The official code writes a row for every token; here a row is broadcast, over the halves of a
batch or over the segments of a pack.

Legend: B batch, L target tokens, R reference tokens, D width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from .fused import gate_segments, is_fused, norm_modulate_segments, writes_in_place
from .kernels import has_kernels, operators
from .segments import SegmentRows


def sinusoidal_embedding(timestep: Tensor, dim: int) -> Tensor:
    """Cosines then sines of the timestep at geometrically spaced frequencies.

    Args:
        timestep: [B], 0 to 1000.
        dim: Width, even.

    Returns:
        float32 [B, dim].

    Source: diffusers `Timesteps(flip_sin_to_cos=True, downscale_freq_shift=0)`.
    """
    half = dim // 2
    # parity: exponents in float32 as diffusers has them; the exponential in float64, since a float32 one is off by a
    # rounding on some processors, which at t = 999 moves an angle by 6e-5
    exponents = -math.log(10000.0) * torch.arange(half, dtype=torch.float32) / half
    frequencies = torch.exp(exponents.double()).float().to(timestep.device)
    angles = timestep.float()[:, None] * frequencies  # [B, dim / 2]
    return torch.cat((angles.cos(), angles.sin()), dim=-1)


@dataclass(frozen=True)
class TwoRows:
    """A value for all target tokens of a sample and another for all reference tokens.

    Args:
        target: float32 [B, 1, D].
        reference: float32 [1, 1, D], or None when the sequence has no references.
    """

    target: Tensor
    reference: Tensor | None


Rows = TwoRows | SegmentRows
"""The rows of a batch of equal samples, or of a pack."""


@dataclass(frozen=True)
class Modulation:
    """Shift, scale and gate of one residual branch."""

    shift: Rows
    scale: Rows
    gate: Rows


def split_rows(table: Tensor, time_rows: Tensor, *, has_references: bool) -> list[TwoRows]:
    """Rows of a learned table, for target tokens with the timestep added, for reference tokens without.

    Args:
        table: float32 [1, K, D], learned.
        time_rows: float32 [B, K, D], from the timestep.
        has_references: Whether the sequence has reference tokens.

    Returns:
        K pairs of rows.
    """
    target = (table + time_rows).unsqueeze(2).unbind(1)  # K times [B, 1, D]
    reference = table.unsqueeze(2).unbind(1) if has_references else [None] * len(target)
    return [TwoRows(*pair) for pair in zip(target, reference, strict=True)]


def _by_rows(function: Callable[..., Tensor], num_target: int, *tensors: Tensor, rows: tuple[Rows, ...]) -> Tensor:
    """Apply `function(*tensors, *rows)` to each run of tokens that share a row."""
    if isinstance(rows[0], SegmentRows):
        return _by_segments(function, *tensors, rows=cast("tuple[SegmentRows, ...]", rows))
    return _by_two_rows(function, num_target, *tensors, rows=cast("tuple[TwoRows, ...]", rows))


def _by_two_rows(
    function: Callable[..., Tensor], num_target: int, *tensors: Tensor, rows: tuple[TwoRows, ...]
) -> Tensor:
    """To the target tokens and to the reference tokens."""
    if rows[0].reference is None:
        return function(*tensors, *(row.target for row in rows))
    target = function(*(x[:, :num_target] for x in tensors), *(row.target for row in rows))
    reference = function(*(x[:, num_target:] for x in tensors), *(row.reference for row in rows))
    return torch.cat((target, reference), dim=1)


def _parts(num_target: int, *rows: TwoRows) -> Iterator[tuple[slice, tuple[Tensor, ...]]]:
    """The target tokens and their rows, then the reference tokens and theirs where there are any."""
    yield slice(None, num_target), tuple(row.target for row in rows)
    references = [row.reference for row in rows if row.reference is not None]
    if references:
        yield slice(num_target, None), tuple(references)


def _by_segments(function: Callable[..., Tensor], *tensors: Tensor, rows: tuple[SegmentRows, ...]) -> Tensor:
    """To each segment of a pack."""
    parts = zip(*(x.split(rows[0].segments.lengths, dim=1) for x in tensors), strict=True)
    chosen = zip(*(row.of_segments() for row in rows), strict=True)
    return torch.cat([function(*part, *row) for part, row in zip(parts, chosen, strict=True)], dim=1)


def norm_modulate(tokens: Tensor, shift: Rows, scale: Rows, *, num_target: int, eps: float) -> Tensor:
    """LayerNorm without weights, then scale and shift; in float32, returned in the dtype of `tokens` [B, L + R, D]."""
    if isinstance(shift, SegmentRows) and isinstance(scale, SegmentRows) and is_fused(tokens):
        where = shift.segments
        return norm_modulate_segments(tokens, shift.table, scale.table, lengths=where.lengths, rows=where.rows, eps=eps)

    if isinstance(shift, TwoRows) and isinstance(scale, TwoRows) and has_kernels(tokens):
        rows = (shift.target, scale.target, shift.reference, scale.reference)
        return cast("Tensor", operators().norm_modulate(tokens.contiguous(), *rows, num_target, eps))

    if isinstance(shift, TwoRows) and isinstance(scale, TwoRows) and writes_in_place(tokens):
        normed = functional.layer_norm(tokens.float(), tokens.shape[-1:], eps=eps)
        out = torch.empty_like(tokens)
        for part, (shift_row, scale_row) in _parts(num_target, shift, scale):
            torch.addcmul(shift_row, normed[:, part], 1 + scale_row, out=out[:, part])
        return out

    def function(x: Tensor, shift_row: Tensor, scale_row: Tensor) -> Tensor:
        normed = functional.layer_norm(x.float(), x.shape[-1:], eps=eps)
        return torch.addcmul(shift_row, normed, 1 + scale_row).to(x.dtype)

    return _by_rows(function, num_target, tokens, rows=(shift, scale))


def gated_residual(tokens: Tensor, update: Tensor, gate: Rows, *, num_target: int) -> Tensor:
    """Tokens + gate * update; in float32, returned in the dtype of `tokens` [B, L + R, D]."""
    if isinstance(gate, SegmentRows) and is_fused(tokens):
        where = gate.segments
        return gate_segments(tokens, update, gate.table, lengths=where.lengths, rows=where.rows)

    if isinstance(gate, TwoRows) and has_kernels(tokens):
        rows = (gate.target, gate.reference)
        return cast("Tensor", operators().gated_residual(tokens.contiguous(), update.contiguous(), *rows, num_target))

    if isinstance(gate, TwoRows) and writes_in_place(tokens):
        out = torch.empty_like(tokens)
        for part, (gate_row,) in _parts(num_target, gate):
            # one kernel: the operands are promoted to the gate's float32 and the sum rounded inside it
            torch.addcmul(tokens[:, part], update[:, part], gate_row, out=out[:, part])
        return out

    def function(x: Tensor, change: Tensor, gate_row: Tensor) -> Tensor:
        return torch.addcmul(x.float(), change.float(), gate_row).to(x.dtype)

    return _by_rows(function, num_target, tokens, update, rows=(gate,))
