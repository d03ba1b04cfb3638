"""The host's layers and attention in the form that `loom_core` builds its DiT from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from comfy.ldm.modules.attention import optimized_attention
from torch import Tensor

from ....loom_core.models.operations import Operations


@dataclass(frozen=True)
class HostAttention:
    """Attention of one forward pass, by whatever backend the host was started with.

    Args:
        transformer_options: The host's, of this pass: a user's override of the attention is found in there.
    """

    transformer_options: Mapping[str, Any]

    def __call__(
        self, queries: Tensor, keys: Tensor, values: Tensor, *, num_heads: int, mask: Tensor | None = None
    ) -> Tensor:
        """See `loom_core.models.operations.Attention`."""
        options: Any = self.transformer_options
        mixed: Tensor = optimized_attention(
            queries, keys, values, heads=num_heads, mask=_additive(mask, queries), transformer_options=options
        )
        return mixed


def with_attention(layers: Any) -> type[Operations]:
    """The host's layer classes, and its attention for a pass that brings none of its own.

    Args:
        layers: One of the host's sets of operations, as it picks them for a number format and device.
    """

    class HostOperations(layers):
        attention = staticmethod(HostAttention({}))

    return HostOperations


def _additive(mask: Tensor | None, queries: Tensor) -> Tensor | None:
    """A bool mask [B, Lk] as numbers [B, 1, 1, Lk] to add to the scores: not all backends take a bool one for that."""
    if mask is None:
        return None
    scores = torch.zeros(mask.shape, dtype=queries.dtype, device=queries.device)
    return scores.masked_fill(~mask, torch.finfo(queries.dtype).min)[:, None, None, :]
