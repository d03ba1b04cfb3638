"""Self-attention over target and reference tokens, and cross-attention to one MLLM layer.

Queries and keys are RMS-normed over the full width, before the heads are split. Cross-attention has no rotary turn;
its keys and values depend on the prompt alone, so they are made once a run.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .operations import Factory, Operations
from .rope import RopeTable, apply_rope


class KeysValues(NamedTuple):
    """Keys and values of one block's context, each [B, S, D]."""

    keys: Tensor
    values: Tensor


class _Projections(nn.Module):
    """The four projections and two norms that both kinds of attention have."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        *,
        eps: float,
        operations: type[Operations],
        device: torch.device | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.operations = operations
        factory: Factory = {"device": device, "dtype": dtype}
        self.q = operations.Linear(dim, dim, **factory)
        self.k = operations.Linear(dim, dim, **factory)
        self.v = operations.Linear(dim, dim, **factory)
        self.o = operations.Linear(dim, dim, **factory)
        self.norm_q = operations.RMSNorm(dim, eps=eps, **factory)
        self.norm_k = operations.RMSNorm(dim, eps=eps, **factory)

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        return self.o(self.operations.attention(queries, keys, values, num_heads=self.num_heads, mask=mask))


class SelfAttention(_Projections):
    """Every token attends to every target and reference token of its sample."""

    def forward(self, tokens: Tensor, rope: RopeTable, mask: Tensor | None = None) -> Tensor:
        """Mix tokens [B, L + R, D]; `mask` [B, L + R] hides padding."""
        queries = apply_rope(self.norm_q(self.q(tokens)), rope, num_heads=self.num_heads)
        keys = apply_rope(self.norm_k(self.k(tokens)), rope, num_heads=self.num_heads)
        return self._attend(queries, keys, self.v(tokens), mask)


class CrossAttention(_Projections):
    """Tokens attend to the projected states of one MLLM layer."""

    def keys_values(self, context: Tensor) -> KeysValues:
        """Keys and values of a context [B, S, D]; they do not depend on the step."""
        return KeysValues(self.norm_k(self.k(context)), self.v(context))

    def forward(self, tokens: Tensor, context: KeysValues, mask: Tensor | None = None) -> Tensor:
        """Read the context into tokens [B, L + R, D]; `mask` [B, S] hides padding."""
        return self._attend(self.norm_q(self.q(tokens)), context.keys, context.values, mask)
