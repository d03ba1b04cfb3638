"""Elementwise parts on a CPU, with backward passes of their own.

In a small model these cost as much as the matrices: left to autograd, each is a dozen passes over memory, most of them
casts. The formulas are those of the plain functions, which other devices use; arithmetic is float32 whatever the dtype.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

_CASTING = ("cpu", "cuda", "xpu", "meta")
"""Devices whose elementwise kernels read and write dtypes other than the one that they compute in."""


def is_fused(tokens: Tensor) -> bool:
    """Whether the functions of this module are the faster ones for a tensor."""
    return tokens.device.type == "cpu" and not torch.compiler.is_compiling()


def writes_in_place(x: Tensor) -> bool:
    """Whether a result may be written where it is wanted: nobody will ask for gradients, and the device can do it.

    Such an operation casts as it reads and writes, in one kernel, where a plain one leaves a float32 copy behind.
    """
    return not torch.is_grad_enabled() and x.device.type in _CASTING and not torch.compiler.is_compiling()


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        values = x.float()
        norm = torch.linalg.vector_norm(values, dim=-1, keepdim=True)
        inverse = (norm.square() / x.shape[-1] + eps).rsqrt()
        ctx.save_for_backward(x, weight, inverse)
        return (values * inverse).mul_(weight).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight, inverse = ctx.saved_tensors
        normed, gradient = x.float() * inverse, gradient.float()
        products = gradient * normed
        of_weight = products.flatten(0, -2).sum(0).to(weight.dtype)
        along = products.mul_(weight).mean(-1, keepdim=True)
        of_x = (gradient * weight).addcmul_(normed, along, value=-1).mul_(inverse)
        return of_x.to(x.dtype), of_weight, None


def rms_norm(x: Tensor, weight: Tensor, *, eps: float) -> Tensor:
    """Root mean square norm over the last dimension, times a weight, in the dtype of x."""
    return _RmsNorm.apply(x, weight, eps)  # type: ignore[no-untyped-call]


def norm_modulate_segments(
    tokens: Tensor, shift: Tensor, scale: Tensor, *, lengths: Sequence[int], rows: Sequence[int], eps: float
) -> Tensor:
    """LayerNorm without weights, then scale and shift by one row a segment.

    Args:
        tokens: [1, T, D].
        shift: float32 [K, D].
        scale: float32 [K, D].
        lengths: Tokens of each segment.
        rows: Row of each segment.
        eps: Of the norm.
    """
    # the norm of a segment has its row as weight and bias: one kernel, which reads bfloat16 and computes in float32
    weights, biases, width = (1 + scale).unbind(0), shift.unbind(0), tokens.shape[-1:]
    parts = zip(tokens[0].split(list(lengths)), rows, strict=True)
    normed = [functional.layer_norm(part, width, weights[row], biases[row], eps) for part, row in parts]
    return torch.cat(normed)[None]


class _GateSegments(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, tokens: Tensor, update: Tensor, gate: Tensor, where: tuple[Sequence[int], Sequence[int]]
    ) -> Tensor:
        ctx.where = where
        ctx.save_for_backward(update, gate)
        change = _scaled(update, gate, where)
        return change.add_(tokens).to(tokens.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        update, gate = ctx.saved_tensors
        lengths, rows = ctx.where
        products = gradient.float() * update
        of_gate = torch.zeros_like(gate)
        for part, row in zip(products[0].split(lengths), rows, strict=True):
            of_gate[row] += part.sum(0)
        return gradient, _scaled(gradient, gate, ctx.where).to(update.dtype), of_gate, None


def _scaled(values: Tensor, gate: Tensor, where: tuple[Sequence[int], Sequence[int]]) -> Tensor:
    """Values [1, T, D] times the rows of their segments, in new memory."""
    scaled = values.to(torch.float32, copy=True)
    for part, row in zip(scaled[0].split(where[0]), where[1], strict=True):
        part.mul_(gate[row])
    return scaled


def gate_segments(
    tokens: Tensor, update: Tensor, gate: Tensor, *, lengths: Sequence[int], rows: Sequence[int]
) -> Tensor:
    """Tokens + gate * update, with one row of `gate` a segment; see `norm_modulate_segments`."""
    return _GateSegments.apply(tokens, update, gate, (tuple(lengths), tuple(rows)))  # type: ignore[no-untyped-call]
