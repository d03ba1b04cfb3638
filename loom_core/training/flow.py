"""The flow-matching objective, as pure functions.

z_t = (1 - t) x + (eps + (1 - eps) t) n with eps = 1e-3; the target velocity is (1 - eps) n - x; the loss of a pack is
the sum of squared errors over all its target elements, divided by their number.

Source: official `LoomVideo.forward_loss`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

EPSILON = 1e-3


def noised_latents(clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """Clean latents and noise mixed at t in [0, 1]: a batch [B, C, F, H, W] at [B], or a sample [C, F, H, W] at []."""
    t = t.view(-1, 1, 1, 1, 1) if t.ndim else t
    return (1 - t) * clean + (EPSILON + (1 - EPSILON) * t) * noise


def velocity_target(clean: Tensor, noise: Tensor) -> Tensor:
    """What the model should predict for clean latents and noise of the same size."""
    return (1 - EPSILON) * noise - clean


def squared_errors(predictions: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Sum of squared errors of each sample, float32 [N], in float32 whatever the model's dtype."""
    pairs = zip(predictions, targets, strict=True)
    return torch.stack([(prediction.float() - target.float()).square().sum() for prediction, target in pairs])
