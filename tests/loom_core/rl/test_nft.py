"""The algebra of DiffusionNFT."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from loom_core.config.rl import NFTSettings
from loom_core.rl.nft import DiffusionNFT, clean_error, implicit_policies, nft_loss
from loom_core.rl.rollout import roll_out
from loom_core.training.flow import noised_latents, squared_errors, velocity_target


@pytest.fixture
def tensors():
    """Velocity (with a gradient), old velocity and target."""
    generator = torch.Generator().manual_seed(0)
    velocity, old, target = torch.randn(3, 2, 1, 4, 4, generator=generator, dtype=torch.float64)
    return velocity.requires_grad_(), old, target


def gradient(loss, velocity):
    (found,) = torch.autograd.grad(loss, velocity)
    return found


@pytest.mark.parametrize("beta", [0.1, 1.0, 2.5])
def test_better_and_worse_policy_add_up_to_twice_the_old_one(tensors, beta):
    velocity, old, _ = tensors
    better, worse = implicit_policies(velocity, old, beta=beta)
    torch.testing.assert_close(better + worse, 2 * old)
    torch.testing.assert_close(better - worse, 2 * beta * (velocity - old))


def test_a_good_answer_with_beta_1_is_plain_flow_matching(tensors):
    velocity, old, target = tensors
    good = torch.tensor(1.0)
    plain = squared_errors([velocity], [target])[0] / target.numel()
    found = nft_loss(velocity, old, target, good=good, level=0.4, beta=1.0, is_self_normalised=False)
    assert float(found.loss.detach()) == pytest.approx(float(plain.detach()), rel=1e-6)
    expected = gradient(((velocity - target) ** 2).mean(), velocity)
    torch.testing.assert_close(gradient(found.loss, velocity), expected)

    normalised = nft_loss(velocity, old, target, good=good, level=0.4, beta=1.0)
    direction = gradient(normalised.loss, velocity)
    torch.testing.assert_close(direction / direction.norm(), expected / expected.norm())


def test_a_bad_answer_leads_away_from_it(tensors):
    """At the old policy a bad answer's gradient is the opposite of a good one's."""
    velocity, _, target = tensors
    old = velocity.detach()

    def pull(good):
        return gradient(nft_loss(velocity, old, target, good=torch.tensor(good), level=0.4, beta=0.1).loss, velocity)

    torch.testing.assert_close(pull(0.0), -pull(1.0))
    torch.testing.assert_close(pull(0.5), torch.zeros_like(old))
    expected = gradient(clean_error(velocity, target, level=0.4), velocity)
    torch.testing.assert_close(pull(1.0), expected)


@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_at_the_old_policy_there_is_no_contrast(tensors, beta):
    velocity, old, target = tensors
    same = nft_loss(velocity, velocity.detach(), target, good=torch.tensor(0.9), level=0.4, beta=beta)
    assert same.contrast == 0
    assert nft_loss(velocity, old, target, good=torch.tensor(0.9), level=0.4, beta=beta).contrast > 0


def test_the_error_of_clean_latents_is_that_of_the_velocity_times_the_level():
    generator = torch.Generator().manual_seed(1)
    clean, noise, velocity = torch.randn(3, 2, 1, 2, 2, generator=generator, dtype=torch.float64)
    level = torch.tensor(0.3, dtype=torch.float64)
    noised, target = noised_latents(clean, noise, level), velocity_target(clean, noise)
    error = (noised - level * velocity) - (noised - level * target)
    expected = (error**2).mean() / error.abs().mean()
    torch.testing.assert_close(clean_error(velocity, target, level=0.3), expected)


def test_points_are_the_answers_noised_as_in_training(toy, make_prompt, make_plan):
    plan = make_plan()
    algorithm = DiffusionNFT(NFTSettings(levels_per_answer=3), plan)
    rollouts = roll_out(toy.velocities, [make_prompt(1), make_prompt(2)], plan)
    points = algorithm.points(rollouts)
    assert [point.rollout for point in points] == [place for place in range(8) for _ in range(3)]
    assert len({point.level for point in points}) == 2 * 3  # of each prompt
    for point in points:
        clean = rollouts[point.rollout].clean
        noise = (point.target + clean) / (1 - 1e-3)
        torch.testing.assert_close(point.latents, noised_latents(clean, noise, torch.tensor(point.level)))
        assert point.timestep == pytest.approx(1000 * point.level)
    assert [point.level for point in algorithm.points(rollouts)] == [point.level for point in points]


def test_the_answers_to_a_prompt_are_noised_alike(toy, make_prompt, make_plan):
    rollouts = roll_out(toy.velocities, [make_prompt(1), make_prompt(2)], make_plan())
    points = DiffusionNFT(NFTSettings(levels_per_answer=1), make_plan()).points(rollouts)
    noises = [point.target + rollout.clean for point, rollout in zip(points, rollouts, strict=True)]
    for point, noise in zip(points[:4], noises[:4], strict=True):
        assert point.level == points[0].level
        torch.testing.assert_close(noise, noises[0])
    assert not torch.equal(rollouts[0].clean, rollouts[1].clean)
    assert points[4].level != points[0].level and not torch.allclose(noises[4], noises[0])


def test_the_distance_to_the_reference_is_told_apart(toy, make_prompt, make_plan):
    algorithm = DiffusionNFT(NFTSettings(), make_plan())
    point = algorithm.points(roll_out(toy.velocities, [make_prompt()], make_plan()))[0]
    velocity = torch.ones(1, 1, 2, 2)
    point = replace(point, old=velocity)
    assert float(algorithm.loss(point, velocity, 1.0).kl) == 0
    found = algorithm.loss(replace(point, reference=velocity - 2), velocity, 1.0)
    assert float(found.kl) == 4
    assert found.measures == {"contrast": 0.0, "deviation": 0.0}
