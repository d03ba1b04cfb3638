"""Flow-GRPO: the steps of an answer are drawn, and those of good answers are made more probable.

With p the probability of a step under the policy, p_old under the old one, and A the answer's advantage, the loss is
max(-A p / p_old, -A clip(p / p_old, 1 - clip, 1 + clip)), as in PPO.

Source: Flow-GRPO (arXiv 2505.05470); the drawn steps are `sampling.sde`. Differences: the last step is followed, not
drawn; no guidance, so that the probabilities are the policy's own; the distance to the reference is that of the two
normal distributions, where the code as it is commonly published leaves the width of the step out of their variance: its
`kl` is less here, by about the number of steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..config.rl import GRPOSettings
from ..data.seeds import seeded_generator
from ..sampling.sde import DrawnStep, log_probability
from .points import Point, PointLoss, mean_square, no_kl
from .rollout import Rollout, RolloutPlan


def clipped_loss(log_ratio: Tensor, advantage: float, *, clip: float) -> Tensor:
    """The loss of one step, [].

    Args:
        log_ratio: log p - log p_old, [], with a graph.
        advantage: Of the answer.
        clip: How far the ratio may leave 1.
    """
    ratio = log_ratio.exp()
    return torch.maximum(-advantage * ratio, -advantage * ratio.clamp(1 - clip, 1 + clip))


@dataclass(frozen=True, kw_only=True)
class DrawnPoint(Point):
    """A step that was drawn.

    Args:
        following: Where it led.
        step: Its coefficients.
    """

    following: Tensor
    step: DrawnStep


class FlowGRPO:
    """The algorithm; see the module's docstring.

    Args:
        settings: Its own.
        rollouts: How the old policy answers: with drawn steps.
    """

    rounded_time = False  # probabilities are those of the steps as they were drawn

    def __init__(self, settings: GRPOSettings, rollouts: RolloutPlan) -> None:
        self.settings, self.rollouts = settings, rollouts

    def plan(self) -> RolloutPlan:
        """See `Algorithm`."""
        return self.rollouts

    def points(self, rollouts: Sequence[Rollout]) -> list[DrawnPoint]:
        """The drawn steps of each answer, or some of them."""
        return [point for place, rollout in enumerate(rollouts) for point in self._points(place, rollout)]

    def loss(self, point: DrawnPoint, velocity: Tensor, advantage: float) -> PointLoss:
        """See `Algorithm`."""
        assert point.old is not None
        latents, step = point.latents.to(velocity), point.step
        following, old = point.following.to(velocity), point.old.to(velocity)

        mean, old_mean = step.mean(latents, velocity), step.mean(latents, old)
        old_log = log_probability(following, mean=old_mean, std=step.std)
        log_ratio = log_probability(following, mean=mean, std=step.std) - old_log
        kl = no_kl(velocity)
        if point.reference is not None:
            reference = step.mean(latents, point.reference.to(velocity))
            kl = mean_square(mean - reference) / (2 * step.std**2)
        ratio = float(log_ratio.detach().exp())
        measures = {
            "contrast": abs(ratio - 1),
            "deviation": float((velocity.detach() - old).abs().mean()),
            "clipped": float(abs(ratio - 1) > self.settings.clip),
        }
        return PointLoss(clipped_loss(log_ratio, advantage, clip=self.settings.clip), kl, measures)

    def _points(self, place: int, rollout: Rollout) -> list[DrawnPoint]:
        drawn = [visit for visit in rollout.visits if visit.step.std > 0]
        count = self.settings.trained_steps
        if 0 < count < len(drawn):
            order = torch.randperm(len(drawn), generator=seeded_generator(rollout.seed, "trained steps"))
            drawn = [drawn[index] for index in sorted(order[:count].tolist())]
        return [
            DrawnPoint(
                rollout=place,
                latents=visit.latents,
                timestep=visit.timestep,
                old=visit.velocity,
                following=visit.following,
                step=visit.step,
            )
            for visit in drawn
        ]
