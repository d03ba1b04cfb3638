"""Self-attention over target and reference tokens, and cross-attention to one MLLM layer.

Queries and keys are RMS-normed over the full width, before the heads are split. Cross-attention has no rotary turn;
its keys and values depend on the prompt alone, so they are made once a run.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from .operations import Attention, LayerFactory
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

    def forward(self, tokens: Tensor, rope: RopeTable, attention: Attention, mask: Tensor | None = None) -> Tensor:
        """Mix tokens [B, L + R, D]; `mask` [B, L + R] hides padding."""
        queries = apply_rope(self.norm_q(self.q(tokens)), rope, num_heads=self.num_heads)
        keys = apply_rope(self.norm_k(self.k(tokens)), rope, num_heads=self.num_heads)
        return self._attend(queries, keys, self.v(tokens), mask, attention)


class CrossAttention(_Projections):
    """Tokens attend to the projected states of one MLLM layer."""

    def keys_values(self, context: Tensor) -> KeysValues:
        """Keys and values of a context [B, S, D]; they do not depend on the step."""
        return KeysValues(self.norm_k(self.k(context)), self.v(context))

    def forward(
        self, tokens: Tensor, context: Tensor | KeysValues, attention: Attention, mask: Tensor | None = None
    ) -> Tensor:
        """Read a context [B, S, D], or its keys and values, into tokens [B, L + R, D]; `mask` [B, S] hides padding."""
        keys, values = self.keys_values(context) if isinstance(context, Tensor) else context
        return self._attend(self.norm_q(self.q(tokens)), keys, values, mask, attention)
