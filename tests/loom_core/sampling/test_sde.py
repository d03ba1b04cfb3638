"""Drawn steps keep the distribution of the flow, and their probability is that of a normal distribution."""

from __future__ import annotations

import pytest
import torch

from loom_core.sampling.schedule import flow_schedule
from loom_core.sampling.sde import DrawnStep, log_probability


def velocity(latents, t, *, mean=1.0, spread=0.5):
    """The exact flow to a normal distribution."""
    scaled = (latents - (1 - t) * mean) / ((1 - t) ** 2 * spread**2 + t**2)
    return t * scaled - (mean + (1 - t) * spread**2 * scaled)


@pytest.mark.parametrize("noise_level", [0.3, 0.7])
def test_drawn_answers_have_the_distribution_of_the_flow(noise_level):
    generator = torch.Generator().manual_seed(0)
    schedule = flow_schedule(120, shift=1.0)
    latents = torch.randn(40_000, generator=generator, dtype=torch.float64)
    for step in range(schedule.num_steps):
        drawn = DrawnStep.between(schedule.sigmas, step, noise_level=noise_level)
        noise = torch.randn(latents.shape, generator=generator, dtype=torch.float64)
        latents = drawn.draw(latents, velocity(latents, float(schedule.sigmas[step])), noise=noise)
    assert float(latents.mean()) == pytest.approx(1.0, abs=0.02)
    assert float(latents.std()) == pytest.approx(0.5, abs=0.02)


def test_without_noise_and_at_the_end_the_flow_is_followed():
    sigmas = flow_schedule(4, shift=3.0).sigmas
    latents, predicted = torch.ones(3), torch.tensor([1.0, 2.0, 3.0])
    for step, level in ((1, 0.0), (3, 0.7)):
        drawn = DrawnStep.between(sigmas, step, noise_level=level)
        assert drawn.std == 0
        expected = latents + (sigmas[step + 1] - sigmas[step]) * predicted
        torch.testing.assert_close(drawn.draw(latents, predicted, noise=torch.ones(3)), expected)


def test_the_first_step_from_pure_noise_is_finite_and_moderate():
    drawn = DrawnStep.between(flow_schedule(12, shift=5.0).sigmas, 0, noise_level=0.7)
    assert 0 < drawn.std < 1.5


def test_probabilities_are_those_of_a_normal_distribution():
    generator = torch.Generator().manual_seed(1)
    mean, following = torch.randn(2, 3, 4, generator=generator)
    expected = torch.distributions.Normal(mean, 0.3).log_prob(following).mean()
    torch.testing.assert_close(log_probability(following, mean=mean, std=0.3), expected)
