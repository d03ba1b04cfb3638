"""What the two algorithms share: without a reference there is no distance, and the same calls serve both."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from loom_core.config.rl import GRPOSettings, NFTSettings
from loom_core.rl.grpo import FlowGRPO
from loom_core.rl.nft import DiffusionNFT
from loom_core.rl.points import mean_square, no_kl
from loom_core.rl.rollout import roll_out


def test_no_reference_no_distance():
    velocity = torch.ones(2, requires_grad=True)
    assert float(no_kl(velocity)) == 0
    assert float(mean_square(torch.tensor([1.0, 3.0]))) == 5


@pytest.mark.parametrize("name", ["nft", "grpo"])
def test_both_algorithms_are_called_alike(name, toy, make_prompt, make_plan):
    plan = make_plan(noise_level=0.7 if name == "grpo" else 0.0)
    algorithm = FlowGRPO(GRPOSettings(), plan) if name == "grpo" else DiffusionNFT(NFTSettings(), plan)
    rollouts = roll_out(toy.velocities, [make_prompt(0), make_prompt(1)], algorithm.plan())
    points = algorithm.points(rollouts)
    assert {point.rollout for point in points} == set(range(8))
    for point in points[:3]:
        (velocity,) = toy.velocities([point.latents], torch.tensor([point.timestep]), [None])
        found = algorithm.loss(replace(point, old=velocity.detach()), velocity, 1.0)
        assert found.policy.requires_grad
        assert {"contrast", "deviation"} <= found.measures.keys()
