"""Operations for the meta device that choose the attention kernel which a CPU would choose.

On the meta device torch takes attention apart into two matrix products with the whole matrix of scores in between:
the same number of operations, but memory that no real run needs.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from loom_core.models.operations import TorchOperations


class FlashOperations(TorchOperations):
    """As `TorchOperations`, with the fused attention kernel asked for by name."""

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
