"""The projector from MLLM states to cross-attention contexts, shared by all blocks."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from .operations import LayerFactory

EXPANSION = 4
EPS = 1e-6  # of Qwen3VLTextRMSNorm, whatever the DiT's own


class MLLMProjector(nn.Module):
    """RMSNorm -> Linear to four times the DiT's width -> GELU (tanh) -> Linear to its width.

    Source: official `PixArtAlphaTextProjectionNorm`; parameter names are those of the released files.
    """

    def __init__(self, mllm_dim: int, dim: int, *, layers: LayerFactory) -> None:
        super().__init__()
        self.norm = layers.rms_norm(mllm_dim, eps=EPS)
        self.linear_1 = layers.linear(mllm_dim, EXPANSION * dim)
        self.linear_2 = layers.linear(EXPANSION * dim, dim)

    def forward(self, states: Tensor) -> Tensor:
        """MLLM states [B, S, mllm_dim] to a context [B, S, D]."""
        return self.linear_2(functional.gelu(self.linear_1(self.norm(states)), approximate="tanh"))
