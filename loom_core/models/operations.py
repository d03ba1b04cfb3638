"""The building blocks that the DiT is made of, so that a host can put in its own.

ComfyUI casts, quantises and offloads inside its own Linear, Conv3d and norms; the model therefore never names
`torch.nn` layers itself but takes them from an `Operations` object.
"""

from __future__ import annotations

from typing import Any, Protocol, TypedDict

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional


class Factory(TypedDict):
    """Where and in which dtype parameters are made; passed on to every layer."""

    device: torch.device | None
    dtype: torch.dtype | None


class Operations(Protocol):
    """Layer classes with torch.nn's signatures (all accept `device` and `dtype`), and the attention function."""

    Linear: Any
    Conv3d: Any
    LayerNorm: Any
    RMSNorm: Any

    @staticmethod
    def attention(
        queries: Tensor, keys: Tensor, values: Tensor, *, num_heads: int, mask: Tensor | None = None
    ) -> Tensor:
        """Full softmax attention.

        Args:
            queries: [B, Lq, D].
            keys: [B, Lk, D].
            values: [B, Lk, D].
            num_heads: Heads that D splits into.
            mask: bool [B, Lk], True where a key may be seen; None sees all.

        Returns:
            [B, Lq, D].
        """
        ...


class TorchOperations:
    """Plain torch: `torch.nn` layers and scaled dot product attention."""

    Linear = nn.Linear
    Conv3d = nn.Conv3d
    LayerNorm = nn.LayerNorm
    RMSNorm = nn.RMSNorm

    @staticmethod
    def attention(
        queries: Tensor, keys: Tensor, values: Tensor, *, num_heads: int, mask: Tensor | None = None
    ) -> Tensor:
        """See `Operations.attention`."""
        queries, keys, values = (rearrange(x, "b l (n d) -> b n l d", n=num_heads) for x in (queries, keys, values))
        key_mask = None if mask is None else mask[:, None, None, :]
        mixed = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=key_mask)
        return rearrange(mixed, "b n l d -> b l (n d)")


def cast_like(parameter: Tensor, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """A raw parameter on the device of `like`, in `dtype` (that of `like` by default).

    Hosts keep parameters on another device or in another dtype than the activations; layers handle that themselves,
    raw parameters are cast here.
    """
    return parameter.to(device=like.device, dtype=dtype or like.dtype)
