"""From rewards to advantages: how much better an answer is than the others to the same prompt.

Source: GRPO (arXiv 2402.03300). Differences: a group whose rewards are all the same has advantages of exactly zero,
whatever rounding leaves.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

EPSILON = 1e-4
"""Added to a standard deviation, in units of the reward."""

Scale = Literal["group", "all", "none"]


def advantages(rewards: Tensor, *, scale: Scale = "group", clip: float = 5.0) -> Tensor:
    """Advantages of groups of answers.

    Args:
        rewards: [P, K], K answers to each of P prompts.
        scale: What the differences to a group's mean are divided by: the standard deviation within the "group", of
            "all" differences, or by "none".
        clip: Advantages lie from -clip to clip.

    Returns:
        float32 [P, K]; zero for groups without contrast.
    """
    exact = rewards.double()
    centred = (exact - exact.mean(dim=1, keepdim=True)).masked_fill(~has_contrast(rewards)[:, None], 0.0)
    if scale == "group":
        centred = centred / (centred.square().mean(dim=1, keepdim=True).sqrt() + EPSILON)
    elif scale == "all":
        centred = centred / (centred.square().mean().sqrt() + EPSILON)
    return centred.clamp(-clip, clip).float()


def has_contrast(rewards: Tensor) -> Tensor:
    """Whether the answers to a prompt have different rewards: bool [P] of [P, K]."""
    return torch.ne(rewards, rewards[:, :1]).any(dim=1)


def goodness(advantage: Tensor, *, clip: float) -> Tensor:
    """Probability of being a good answer, 0 to 1: a half for an advantage of zero.

    Source: DiffusionNFT (arXiv 2509.16117): r = clip(1/2 + advantage / (2 clip), 0, 1).
    """
    return (0.5 + advantage / (2 * clip)).clamp(0, 1)
