"""Full attention over tokens that are spread over the ranks: each rank attends with some of the heads.

Two all-to-all exchanges around the attention function: before it, runs of tokens with all heads become all tokens with
a run of heads, after it back. Every head sees exactly what it sees in a single process, so no sum is split up.

Source: DeepSpeed-Ulysses (arXiv 2309.14509). Differences: queries, keys and values travel in one exchange; padding,
by which every rank has equally many tokens, is cut off before the attention function, which needs no mask for it.

Legend: N ranks, B batch, T tokens, P tokens with padding, H heads, D width.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from ..errors import ConfigError
from ..models.operations import Attention


def check_heads(num_heads: int, size: int) -> None:
    """Refuse a number of ranks that the heads cannot be shared out over.

    Raises:
        ConfigError: They do not divide.
    """
    if num_heads % size:
        possible = ", ".join(str(count) for count in range(1, num_heads + 1) if num_heads % count == 0)
        raise ConfigError(
            f"{size} processes for a model of {num_heads} attention heads",
            expected=f"{possible}: each takes as many heads",
            fix=f"use torchrun --nproc-per-node with one of {possible}",
        )


class UlyssesAttention:
    """An attention function for one run of a sequence's tokens on each rank; all ranks call it together.

    Args:
        attend: What attends with a rank's heads to all tokens.
        tokens: T, without padding.
    """

    def __init__(self, attend: Attention, *, tokens: int) -> None:
        self._attend, self._tokens = attend, tokens
        self._size = torch.distributed.get_world_size()

    def __call__(
        self, queries: Tensor, keys: Tensor, values: Tensor, *, num_heads: int, mask: Tensor | None = None
    ) -> Tensor:
        """Attend.

        Args:
            queries: [B, P / N, D], this rank's run.
            keys: Likewise.
            values: Likewise.
            num_heads: H, a multiple of N.
            mask: bool [B, T], of all tokens, True where a key may be seen; None sees all.

        Returns:
            [B, P / N, D].
        """
        size = self._size
        runs = torch.stack((queries, keys, values))
        by_head = rearrange(runs, "three b p (n d) -> n three b p d", n=size)  # n counts runs of heads
        received = _exchanged(by_head)  # n counts runs of tokens
        whole = rearrange(received, "n three b p d -> three b (n p) d")[:, :, : self._tokens]  # [3, B, T, D / N]
        mixed = self._attend(*whole.unbind(0), num_heads=num_heads // size, mask=mask)
        mixed = functional.pad(mixed, (0, 0, 0, size * queries.shape[1] - self._tokens))  # [B, P, D / N]
        received = _exchanged(rearrange(mixed, "b (n p) d -> n b p d", n=size))
        return rearrange(received, "n b p d -> b p (n d)")


def _exchanged(parts: Tensor) -> Tensor:
    """One part for each rank [N, ...] to one part from each rank."""
    parts = parts.contiguous()
    received = torch.empty_like(parts)
    torch.distributed.all_to_all_single(received, parts)
    return received
