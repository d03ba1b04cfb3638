"""The blocks' elementwise parts as Triton kernels: one reads a token's row once, works in float32, writes it once.

What each computes is said by its twin in plain torch (`layers.py`, `rope.py`), which is also what it is tested against,
in Triton's interpreter where there is no GPU. A row of D numbers is one program's.

Legend: B batch, L target tokens, R reference tokens, T = L + R, D width.
"""

# ruff: noqa: ANN001, ANN202 - a kernel's arguments are Triton's pointers and numbers
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_WARPS = 8  # a row of 3072 in registers, 12 numbers a thread
"""Threads of a program, in 32s."""


@triton.jit
def _norm_modulate_kernel(  # noqa: PLR0917
    tokens, shift, scale, reference_shift, reference_scale, out,
    num_tokens, num_target, row_stride, eps, dim: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    sample, token = row // num_tokens, row % num_tokens
    columns = tl.arange(0, block)
    inside = columns < dim
    x = tl.load(tokens + row * dim + columns, mask=inside, other=0.0).to(tl.float32)
    centred = tl.where(inside, x - tl.sum(x, axis=0) / dim, 0.0)
    normed = centred * (1.0 / tl.sqrt(tl.sum(centred * centred, axis=0) / dim + eps))
    if token < num_target:
        shifts = tl.load(shift + sample * row_stride + columns, mask=inside, other=0.0)
        scales = tl.load(scale + sample * row_stride + columns, mask=inside, other=0.0)
    else:
        shifts = tl.load(reference_shift + columns, mask=inside, other=0.0)
        scales = tl.load(reference_scale + columns, mask=inside, other=0.0)
    tl.store(out + row * dim + columns, (normed * (1.0 + scales) + shifts).to(out.dtype.element_ty), mask=inside)


@triton.jit
def _gated_residual_kernel(  # noqa: PLR0917
    tokens, update, gate, reference_gate, out,
    num_tokens, num_target, row_stride, dim: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    sample, token = row // num_tokens, row % num_tokens
    columns = tl.arange(0, block)
    inside = columns < dim
    x = tl.load(tokens + row * dim + columns, mask=inside, other=0.0).to(tl.float32)
    change = tl.load(update + row * dim + columns, mask=inside, other=0.0).to(tl.float32)
    if token < num_target:
        gates = tl.load(gate + sample * row_stride + columns, mask=inside, other=0.0)
    else:
        gates = tl.load(reference_gate + columns, mask=inside, other=0.0)
    tl.store(out + row * dim + columns, (x + change * gates).to(out.dtype.element_ty), mask=inside)


@triton.jit
def _norm_rope_kernel(  # noqa: PLR0917
    values, weight, cos, sin,
    num_tokens, token_stride, sample_stride, table_stride, eps,
    dim: tl.constexpr, half: tl.constexpr, has_norm: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    sample, token = row // num_tokens, row % num_tokens
    columns = tl.arange(0, block)
    inside = columns < dim
    place = values + sample * sample_stride + token * token_stride + columns
    x = tl.load(place, mask=inside, other=0.0).to(tl.float32)
    if has_norm:
        x = x * (1.0 / tl.sqrt(tl.sum(x * x, axis=0) / dim + eps))
        x = x * tl.load(weight + columns, mask=inside, other=0.0).to(tl.float32)
        x = x.to(values.dtype.element_ty).to(tl.float32)  # as the norm by itself would hand it on
    even, odd = tl.split(tl.reshape(x, (block // 2, 2)))
    pairs = tl.arange(0, block // 2)
    angle = sample * table_stride + token * half + pairs % half
    cosines = tl.load(cos + angle, mask=pairs < dim // 2, other=0.0)
    sines = tl.load(sin + angle, mask=pairs < dim // 2, other=0.0)
    turned = tl.join(even * cosines - odd * sines, even * sines + odd * cosines)
    tl.store(place, tl.reshape(turned, (block,)).to(values.dtype.element_ty), mask=inside)


def norm_modulate(  # noqa: PLR0917 - an operator's arguments are positional
    tokens: Tensor,
    shift: Tensor,
    scale: Tensor,
    reference_shift: Tensor | None,
    reference_scale: Tensor | None,
    num_target: int,
    eps: float,
) -> Tensor:
    """LayerNorm without weights, scale and shift of tokens [B, T, D]; see `layers.norm_modulate`.

    Args:
        tokens: Contiguous.
        shift: float32 [B or 1, 1, D] of the target tokens, as `scale`.
        scale: Has the strides of `shift`.
        reference_shift: float32 [1, 1, D]; None without reference tokens.
        reference_scale: As `reference_shift`.
        num_target: L.
        eps: Of the norm.
    """
    samples, num_tokens, dim = tokens.shape
    out = torch.empty_like(tokens)
    _norm_modulate_kernel[(samples * num_tokens,)](
        tokens,
        shift,
        scale,
        shift if reference_shift is None else reference_shift,
        scale if reference_scale is None else reference_scale,
        out,
        num_tokens,
        num_target,
        _step(shift),
        eps,
        dim=dim,
        block=triton.next_power_of_2(dim),
        num_warps=_WARPS,
    )
    return out


def gated_residual(
    tokens: Tensor, update: Tensor, gate: Tensor, reference_gate: Tensor | None, num_target: int
) -> Tensor:
    """Tokens + gate * update, both [B, T, D] and contiguous; rows as for `norm_modulate`."""
    samples, num_tokens, dim = tokens.shape
    out = torch.empty_like(tokens)
    _gated_residual_kernel[(samples * num_tokens,)](
        tokens,
        update,
        gate,
        gate if reference_gate is None else reference_gate,
        out,
        num_tokens,
        num_target,
        _step(gate),
        dim=dim,
        block=triton.next_power_of_2(dim),
        num_warps=_WARPS,
    )
    return out


def norm_rope_(  # noqa: PLR0917 - as above
    values: Tensor, weight: Tensor | None, cos: Tensor, sin: Tensor, num_heads: int, eps: float
) -> None:
    """RMSNorm over the whole width, then the rotary turn of each head, in place.

    Args:
        values: Queries or keys [B, T, D], each row contiguous.
        weight: Of the norm, [D]; None leaves the norm out.
        cos: float32 [B or 1, T, D / heads / 2], contiguous.
        sin: As `cos`.
        num_heads: Heads.
        eps: Of the norm.
    """
    samples, num_tokens, dim = values.shape
    _norm_rope_kernel[(samples * num_tokens,)](
        values,
        values if weight is None else weight,
        cos,
        sin,
        num_tokens,
        values.stride(1),
        values.stride(0),
        _step(cos),
        eps,
        dim=dim,
        half=dim // num_heads // 2,
        has_norm=weight is not None,
        block=triton.next_power_of_2(dim),
        num_warps=_WARPS,
    )


def _step(rows: Tensor) -> int:
    """Numbers from one sample's rows to the next one's; 0 where all samples share them."""
    return rows.stride(0) if rows.shape[0] > 1 else 0
