"""The last layer: from target tokens to patches of velocity."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .operations import LayerFactory, cast_like


class Head(nn.Module):
    """LayerNorm, the timestep's shift and scale, and the projection to patches."""

    def __init__(self, dim: int, out_features: int, *, eps: float, layers: LayerFactory) -> None:
        super().__init__()
        self.eps = eps
        self.head = layers.linear(dim, out_features)
        self.modulation = layers.parameter(1, 2, dim)

    def forward(self, tokens: Tensor, time_embedding: Tensor) -> Tensor:
        """Target tokens [B, L, D] and time embedding [B, D] to patches [B, L, out_features]."""
        table = cast_like(self.modulation, tokens, torch.float32)
        shift, scale = (table + time_embedding.float()[:, None]).unsqueeze(2).unbind(1)  # each [B, 1, D]
        normed = functional.layer_norm(tokens.float(), tokens.shape[-1:], eps=self.eps)
        return self.head(torch.addcmul(shift, normed, 1 + scale).to(tokens.dtype))
