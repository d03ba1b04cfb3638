"""The last layer: from target tokens to patches of velocity."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .layers import norm_modulate, split_rows
from .operations import LayerFactory, cast_like
from .segments import Segments, segment_rows


class Head(nn.Module):
    """LayerNorm, the timestep's shift and scale, and the projection to patches."""

    def __init__(self, dim: int, out_features: int, *, eps: float, layers: LayerFactory) -> None:
        super().__init__()
        self.eps = eps
        self.head = layers.linear(dim, out_features)
        self.modulation = layers.parameter(1, 2, dim)

    def forward(self, tokens: Tensor, time_embedding: Tensor, segments: Segments | None = None) -> Tensor:
        """Target tokens to patches of velocity.

        Args:
            tokens: [B, L, D]; of a pack [1, sum of L, D].
            time_embedding: [B, D]; of a pack, one row a sample.
            segments: Of a pack, the targets of each sample; None for a batch.

        Returns:
            Patches, as many as tokens, of `out_features`.
        """
        table = cast_like(self.modulation, tokens, torch.float32)
        time_rows = time_embedding.float()[:, None]  # alike for shift and scale
        shift, scale = (
            split_rows(table, time_rows, has_references=False)
            if segments is None
            else segment_rows(table, time_rows, segments)
        )
        return self.head(norm_modulate(tokens, shift, scale, num_target=tokens.shape[1], eps=self.eps))
