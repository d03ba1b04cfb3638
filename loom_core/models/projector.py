"""The projector from MLLM states to cross-attention contexts, shared by all blocks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .operations import Factory, Operations

EXPANSION = 4
EPS = 1e-6  # of Qwen3VLTextRMSNorm, whatever the DiT's own


class MLLMProjector(nn.Module):
    """RMSNorm -> Linear to four times the DiT's width -> GELU (tanh) -> Linear to its width.

    Source: official `PixArtAlphaTextProjectionNorm`; parameter names are those of the released files.
    """

    def __init__(
        self,
        mllm_dim: int,
        dim: int,
        *,
        operations: type[Operations],
        device: torch.device | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        factory: Factory = {"device": device, "dtype": dtype}
        self.norm = operations.RMSNorm(mllm_dim, eps=EPS, **factory)
        self.linear_1 = operations.Linear(mllm_dim, EXPANSION * dim, **factory)
        self.linear_2 = operations.Linear(EXPANSION * dim, dim, **factory)

    def forward(self, states: Tensor) -> Tensor:
        """MLLM states [B, S, mllm_dim] to a context [B, S, D]."""
        return self.linear_2(functional.gelu(self.linear_1(self.norm(states)), approximate="tanh"))
