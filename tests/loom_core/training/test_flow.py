"""The objective: what a perfect model would get, and how samples are weighed."""

from __future__ import annotations

import torch

from loom_core.training.flow import noised_latents, squared_errors, velocity_target


def test_target_is_the_slope_of_the_path():
    clean, noise = torch.randn(2, 1, 2, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    early, late = (noised_latents(clean, noise, torch.tensor([t])) for t in (0.2, 0.7))
    torch.testing.assert_close((late - early) / 0.5, velocity_target(clean, noise))


def test_errors_are_sums_by_sample_so_that_long_clips_weigh_more():
    short, long = torch.zeros(1, 1, 1, 1, 1), torch.zeros(1, 1, 3, 1, 1)
    assert squared_errors([short, long], [short + 2, long + 1]).tolist() == [4, 3]
