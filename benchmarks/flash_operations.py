"""Operations for the meta device that choose the kernels which a real device would choose.

On the meta device torch takes attention apart into two matrix products with the whole matrix of scores in between:
the same number of operations, but memory that no real run needs. The norm it takes apart into eight operations, where
a GPU has one.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from loom_core.models.operations import RMSNorm, TorchOperations


@torch.library.custom_op("loom_benchmarks::rms_norm", mutates_args=())
def _rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """The one kernel that `rms_norm` is on a GPU; on meta torch would take it apart."""
    return functional.rms_norm(x, weight.shape, weight, eps)


@_rms_norm.register_fake
def _(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    del weight, eps
    return torch.empty_like(x)


class _RMSNorm(RMSNorm):
    def forward(self, x: Tensor) -> Tensor:
        return _rms_norm(x, self.weight, self.eps)


class FlashOperations(TorchOperations):
    """As `TorchOperations`, with the fused kernels of attention and norm asked for by name."""

    RMSNorm = _RMSNorm

    @staticmethod
    def attention(
        queries: Tensor, keys: Tensor, values: Tensor, *, num_heads: int, mask: Tensor | None = None
    ) -> Tensor:
        """See `Attention`; without a mask only."""
        if mask is not None:
            raise ValueError("padding is not supported here")
        queries, keys, values = (rearrange(x, "b l (n d) -> b n l d", n=num_heads) for x in (queries, keys, values))
        mixed, _ = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(queries, keys, values)
        return rearrange(mixed, "b n l d -> b l (n d)")
