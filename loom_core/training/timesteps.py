"""Noise levels drawn in training: logit-normal, shifted toward noise by the size of the sample."""

from __future__ import annotations

import torch
from torch import Tensor

from ..sampling.schedule import shift_sigmas


def noise_levels(normal: Tensor, shifts: Tensor) -> Tensor:
    """Noise levels t in (0, 1) from standard normal draws: sigmoid(n), then shifted.

    Args:
        normal: [B], drawn from N(0, 1).
        shifts: [B], of each sample: `sampling.schedule.token_shift` of its target **and** reference tokens.

    Returns:
        [B].

    Source: official `LoomVideo.forward_loss`.
    """
    return shift_sigmas(torch.sigmoid(normal), shifts)
