"""Flow-GRPO: a ratio of one at the old policy, the policy gradient there, and the clip."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from loom_core.config.rl import GRPOSettings
from loom_core.rl.grpo import FlowGRPO, clipped_loss
from loom_core.rl.rollout import roll_out
from loom_core.sampling.sde import log_probability


@pytest.fixture
def algorithm(make_plan):
    return FlowGRPO(GRPOSettings(clip=0.1), make_plan(noise_level=0.7))


@pytest.fixture
def points(toy, algorithm, make_prompt):
    return algorithm.points(roll_out(toy.velocities, [make_prompt()], algorithm.plan()))


def test_at_the_old_policy_the_ratio_is_one(toy, algorithm, points):
    for point in points:
        (velocity,) = toy.velocities([point.latents], torch.tensor([point.timestep]), [None])
        found = algorithm.loss(point, velocity, 2.0)
        assert found.measures == {"contrast": 0.0, "deviation": 0.0, "clipped": 0.0}
        assert float(found.policy.detach()) == -2.0


def test_there_its_gradient_is_the_policy_gradient(algorithm, points):
    point = points[2]
    velocity = point.old.clone().requires_grad_()
    (found,) = torch.autograd.grad(algorithm.loss(point, velocity, 1.5).policy, velocity)
    mean = point.step.mean(point.latents, velocity)
    (expected,) = torch.autograd.grad(-1.5 * log_probability(point.following, mean=mean, std=point.step.std), velocity)
    torch.testing.assert_close(found, expected)


def test_all_steps_but_the_last_are_learned_from_or_a_few(toy, algorithm, points, make_prompt):
    assert len(points) == 4 * 5
    assert all(point.step.std > 0 for point in points)
    few = FlowGRPO(GRPOSettings(trained_steps=2), algorithm.plan())
    rollouts = roll_out(toy.velocities, [make_prompt()], algorithm.plan())
    chosen = few.points(rollouts)
    assert [point.rollout for point in chosen] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [point.timestep for point in few.points(rollouts)] == [point.timestep for point in chosen]
    assert len({point.timestep for point in chosen}) > 2


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected", "has_gradient"),
    [(1.05, 1.0, -1.05, True), (1.5, 1.0, -1.1, False), (0.5, 1.0, -0.5, True), (0.5, -1.0, 0.9, False)],
)
def test_gains_beyond_the_clip_do_not_count(ratio, advantage, expected, has_gradient):
    log_ratio = torch.tensor(ratio).log().requires_grad_()
    loss = clipped_loss(log_ratio, advantage, clip=0.1)
    assert float(loss.detach()) == pytest.approx(expected)
    (gradient,) = torch.autograd.grad(loss, log_ratio)
    assert bool(gradient != 0) == has_gradient


def test_the_distance_to_the_reference_is_that_of_two_normal_distributions(algorithm, points):
    point = points[1]
    shifted = replace(point, reference=point.old + 0.5)
    found = float(algorithm.loss(shifted, point.old, 1.0).kl)
    means = [torch.distributions.Normal(point.step.mean(point.latents, v), point.step.std) for v in
             (point.old, shifted.reference)]  # fmt: skip
    assert found == pytest.approx(float(torch.distributions.kl_divergence(*means).mean()), rel=1e-4)
