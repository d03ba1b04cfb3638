"""Self-attention over target and reference tokens, and cross-attention to one MLLM layer.

Queries and keys are RMS-normed over the full width, before the heads are split. Cross-attention has no rotary turn;
its keys and values depend on the prompt alone, so they are made once a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple

from torch import Tensor, nn

from .kernels import has_kernels, operators
from .operations import Attention, LayerFactory, RMSNorm
from .projections import lay_side_by_side, project
from .rope import RopeTable, apply_rope


class KeysValues(NamedTuple):
    """Keys and values of one block's context, each [B, S, D]."""

    keys: Tensor
    values: Tensor


class _Projections(nn.Module):
    """The four projections and two norms that both kinds of attention have."""

    def __init__(self, dim: int, num_heads: int, *, eps: float, layers: LayerFactory) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = layers.linear(dim, dim)
        self.k = layers.linear(dim, dim)
        self.v = layers.linear(dim, dim)
        self.o = layers.linear(dim, dim)
        self.norm_q = layers.rms_norm(dim, eps=eps)
        self.norm_k = layers.rms_norm(dim, eps=eps)

    def _attend(
        self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, attention: Attention
    ) -> Tensor:
        return self.o(attention(queries, keys, values, num_heads=self.num_heads, mask=mask))


class SelfAttention(_Projections):
    """Every token attends to every target and reference token of its sample."""

    def forward(
        self,
        tokens: Tensor,
        rope: RopeTable,
        attention: Attention,
        mask: Tensor | None = None,
        *,
        num_queries: int | None = None,
    ) -> Tensor:
        """Mix tokens.

        Args:
            tokens: [B, L + R, D].
            rope: Table of them.
            attention: The attention function.
            mask: bool [B, L + R], False on padding; None without padding.
            num_queries: Q, of so many tokens from the first the result is wanted; None for all.

        Returns:
            [B, Q, D].
        """
        turned = _turned_by_kernel if has_kernels(tokens) else _turned
        if num_queries is None or num_queries == tokens.shape[1]:
            parts, own = project(tokens, (self.q, self.k, self.v)), rope
        else:
            parts = chain(project(tokens[:, :num_queries], (self.q,)), project(tokens, (self.k, self.v)))
            own = rope.first(num_queries)
        queries = turned(parts, self.norm_q, own, self.num_heads)
        keys = turned(parts, self.norm_k, rope, self.num_heads)
        return self._attend(queries, keys, next(parts), mask, attention)

    def fuse(self) -> None:
        """Lay queries', keys' and values' weights side by side, so that they are one product."""
        lay_side_by_side((self.q, self.k, self.v))


def _turned(parts: Iterator[Tensor], norm: Any, rope: RopeTable, num_heads: int) -> Tensor:
    """The next part, normed and turned; what enters a step has no name, so that it is gone after it."""
    return apply_rope(norm(next(parts)), rope, num_heads=num_heads)


def _turned_by_kernel(parts: Iterator[Tensor], norm: Any, rope: RopeTable, num_heads: int) -> Tensor:
    """The same in one kernel, in place; a host's norm, which handles its weight itself, stays apart."""
    is_own = isinstance(norm, RMSNorm)
    values = next(parts) if is_own else norm(next(parts))
    weight, eps = (norm.weight, norm.eps) if is_own else (None, 0.0)
    operators().norm_rope_(values, weight, rope.cos.contiguous(), rope.sin.contiguous(), num_heads, eps)
    return values


class CrossAttention(_Projections):
    """Tokens attend to the projected states of one MLLM layer."""

    def keys_values(self, context: Tensor) -> KeysValues:
        """Keys and values of a context [B, S, D]; they do not depend on the step."""
        parts = project(context, (self.k, self.v))
        return KeysValues(self.norm_k(next(parts)), next(parts))

    def fuse(self) -> None:
        """Lay keys' and values' weights side by side, so that they are one product."""
        lay_side_by_side((self.k, self.v))

    def forward(
        self, tokens: Tensor, context: Tensor | KeysValues, attention: Attention, mask: Tensor | None = None
    ) -> Tensor:
        """Read a context [B, S, D], or its keys and values, into tokens [B, L + R, D]; `mask` [B, S] hides padding."""
        keys, values = self.keys_values(context) if isinstance(context, Tensor) else context
        return self._attend(self.norm_q(self.q(tokens)), keys, values, mask, attention)
