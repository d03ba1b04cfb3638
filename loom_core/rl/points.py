"""What an algorithm learns from: points on the way from noise to an answer, and the loss at each.

Both algorithms need the same of a model: its velocity at a point, that of the old policy and that of the reference.
The old policy's and the reference's do not change while a round is learned from, so that they are computed once, before
the first update; there is never a second model in memory.

Legend: C latent channels, F latent frames, H W latent rows and columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from .rollout import Rollout, RolloutPlan


@dataclass(frozen=True, kw_only=True)
class Point:
    """A place at which the policy's velocity is asked for.

    Args:
        rollout: Number of the answer it belongs to, whose advantage counts.
        latents: What the model is given, [C, F, H, W], float32.
        timestep: 0 to 1000.
        old: Velocity of the old policy there; None until it is known.
        reference: The reference's; None without one.
    """

    rollout: int
    latents: Tensor
    timestep: float
    old: Tensor | None = None
    reference: Tensor | None = None


@dataclass(frozen=True)
class PointLoss:
    """The loss at a point.

    Args:
        policy: What the reward says, [], with a graph.
        kl: Distance to the reference, [], with a graph; zero without one.
        measures: Numbers to watch: "contrast", "deviation" ...
    """

    policy: Tensor
    kl: Tensor
    measures: dict[str, float]


P = TypeVar("P", bound=Point)


class Algorithm(Protocol[P]):
    """How a policy learns from rewarded answers; `nft.DiffusionNFT` and `grpo.FlowGRPO`."""

    rounded_time: bool
    """Whether the time embedding is rounded at its points as in training (`TrainingConfig.round_timestep`)."""

    def plan(self) -> RolloutPlan:
        """How the old policy answers."""
        ...

    def points(self, rollouts: Sequence[Rollout]) -> list[P]:
        """The points that are learned from; the same ones for the same answers."""
        ...

    def loss(self, point: P, velocity: Tensor, advantage: float) -> PointLoss:
        """The loss at a point.

        Args:
            point: With the old policy's velocity.
            velocity: The policy's, float32, with a graph.
            advantage: Of its answer.
        """
        ...


def mean_square(difference: Tensor) -> Tensor:
    """Mean of squares, []."""
    return difference.square().mean()


def no_kl(velocity: Tensor) -> Tensor:
    """The distance to a reference that there is none of."""
    return torch.zeros((), device=velocity.device)
