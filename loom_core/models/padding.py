"""Samples of unequal length in one batch: padding, and the masks that hide it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def length_mask(lengths: Sequence[int], like: Tensor) -> Tensor | None:
    """True where a sample has a token, on the device of `like`.

    Args:
        lengths: Tokens of each sample.
        like: Any tensor on the wanted device.

    Returns:
        bool [B, longest], or None when all samples are equally long.
    """
    longest = max(lengths)
    if min(lengths) == longest:
        return None
    lengths_tensor = torch.tensor(lengths, device=like.device)
    return torch.arange(longest, device=like.device)[None] < lengths_tensor[:, None]
