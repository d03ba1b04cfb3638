"""The building blocks that the DiT is made of, so that a host can put in its own.

ComfyUI casts, quantises and offloads inside its own Linear, Conv3d and norms; the model therefore never names
`torch.nn` layers itself but takes them from an `Operations` object.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from .fused import is_fused, rms_norm


class Attention(Protocol):
    """Full softmax attention; an object of a host's may carry what belongs to one forward pass."""

    def __call__(
        self, queries: Tensor, keys: Tensor, values: Tensor, *, num_heads: int, mask: Tensor | None = None
    ) -> Tensor:
        """Attend.

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
        """See `Attention`; used where a forward pass is not given another."""
        ...


class Linear(nn.Linear):
    """Torch's, but on the meta device nothing is drawn: that costs more there than all else of making a layer."""

    def reset_parameters(self) -> None:
        """Draw torch's starting values."""
        if not self.weight.is_meta:
            super().reset_parameters()


class RMSNorm(nn.RMSNorm):
    """Torch's, in the dtype of what comes in also where the weight has another (float32 under autocast)."""

    def forward(self, x: Tensor) -> Tensor:
        """Norm over the last dimension."""
        if is_fused(x):
            return rms_norm(x, self.weight, eps=cast("float", self.eps))
        return functional.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


class PatchConv3d(nn.Conv3d):
    """Torch's, but a matrix product where all that comes in is one patch a row."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve [B, C, F, H, W]."""
        if tuple(x.shape[2:]) != self.kernel_size:
            return super().forward(x)
        return functional.linear(x.flatten(1), self.weight.flatten(1), self.bias)[:, :, None, None, None]


class TorchOperations:
    """Plain torch: its layers, where it helps with a faster way to the same numbers, and its attention."""

    Linear = Linear
    Conv3d = PatchConv3d
    LayerNorm = nn.LayerNorm
    RMSNorm = RMSNorm

    @staticmethod
    def attention(
        queries: Tensor, keys: Tensor, values: Tensor, *, num_heads: int, mask: Tensor | None = None
    ) -> Tensor:
        """See `Attention`."""
        queries, keys, values = (rearrange(x, "b l (n d) -> b n l d", n=num_heads) for x in (queries, keys, values))
        key_mask = None if mask is None else mask[:, None, None, :]
        mixed = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=key_mask)
        return rearrange(mixed, "b n l d -> b l (n d)")


@dataclass(frozen=True)
class LayerFactory:
    """Makes layers of one origin, on one device and in one dtype.

    Args:
        operations: Where the layers and the attention function come from.
        device: Where parameters are made; None is torch's default.
        dtype: Of the parameters; None is torch's default.
        linear_dtype: Of linear layers; None is `dtype`.
    """

    operations: type[Operations]
    device: torch.device | None = None
    dtype: torch.dtype | None = None
    linear_dtype: torch.dtype | None = None

    def linear(self, in_features: int, out_features: int) -> Any:
        """A linear layer with bias."""
        dtype = self.linear_dtype or self.dtype
        return self.operations.Linear(in_features, out_features, device=self.device, dtype=dtype)

    def patch_embedding(self, in_channels: int, dim: int, patch: tuple[int, int, int]) -> Any:
        """A convolution whose kernel and stride are one patch."""
        return self.operations.Conv3d(
            in_channels, dim, kernel_size=patch, stride=patch, device=self.device, dtype=self.dtype
        )

    def layer_norm(self, dim: int, *, eps: float) -> Any:
        """A LayerNorm with weights."""
        return self.operations.LayerNorm(dim, eps=eps, elementwise_affine=True, device=self.device, dtype=self.dtype)

    def rms_norm(self, dim: int, *, eps: float) -> Any:
        """An RMSNorm with weights."""
        return self.operations.RMSNorm(dim, eps=eps, device=self.device, dtype=self.dtype)

    def parameter(self, *shape: int) -> nn.Parameter:
        """A raw parameter, not yet filled; cast it with `cast_like` where it is used."""
        return nn.Parameter(torch.empty(*shape, device=self.device, dtype=self.dtype))


def cast_like(parameter: Tensor, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """A raw parameter on the device of `like`, in `dtype` (that of `like` by default).

    Hosts keep parameters on another device or in another dtype than the activations; layers handle that themselves,
    raw parameters are cast here.
    """
    return parameter.to(device=like.device, dtype=dtype or like.dtype)
