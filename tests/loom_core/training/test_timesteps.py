"""Noise levels: shifted ones are noisier."""

from __future__ import annotations

import torch

from loom_core.training.timesteps import noise_levels


def test_shift_moves_levels_toward_noise():
    normal = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    plain = noise_levels(normal, torch.ones(1000))
    torch.testing.assert_close(plain, torch.sigmoid(normal))
    shifted = noise_levels(normal, torch.full((1000,), 5.0))
    assert (shifted > plain).all()
    assert shifted.max() < 1
