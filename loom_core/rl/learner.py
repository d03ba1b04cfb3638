"""A round: answers of the old policy, rewards, advantages, and the gradients that follow from them.

Nothing here updates a weight; `trainer.RLTrainer` does, and says what is saved when.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..config.rl import RLSettings
from ..data.seeds import seeded_generator
from ..training.interruption import IsStopped, never_stopped
from .advantages import advantages, has_contrast
from .health import health
from .points import Algorithm, Point
from .policy import Policy
from .rewards.base import Outcome, Rewarded
from .rollout import Prompt, Rollout, packs_of, roll_out


@dataclass(frozen=True)
class Experience:
    """What a round is learned from.

    Args:
        prompts: That were answered.
        rollouts: Their answers, group after group.
        advantages: Of each answer.
        points: Of the answers of groups with contrast; none where no group has any.
        measures: Numbers to watch.
    """

    prompts: tuple[Prompt, ...]
    rollouts: tuple[Rollout, ...]
    advantages: tuple[float, ...]
    points: tuple[Point, ...]
    measures: Mapping[str, float]


class Learner:
    """Makes experience and learns from it.

    Args:
        policy: That learns.
        algorithm: How.
        rewards: Judges answers.
        outcomes: Makes of answers what is judged.
        settings: Of RL.
        token_budget: Most tokens of a pack.
    """

    def __init__(
        self,
        policy: Policy,
        algorithm: Algorithm[Any],
        rewards: Callable[[Sequence[Outcome]], Rewarded],
        outcomes: Callable[[Sequence[Rollout]], Sequence[Outcome]],
        *,
        settings: RLSettings,
        token_budget: int,
    ) -> None:
        self.policy, self.algorithm, self.rewards, self.outcomes = policy, algorithm, rewards, outcomes
        self.settings, self.token_budget = settings, token_budget
        self.is_stopped: IsStopped = never_stopped
        """Whether a stop was asked for, upon which a round is given up while it is still being answered."""

    def collect(self, prompts: Sequence[Prompt]) -> Experience:
        """Have the old policy answer, and find what is to be learned from it.

        Raises:
            TrainingError: An answer or a reward is not finite, or a reward of the wrong shape.
            GivenUpError: A stop was asked for.
        """
        settings, group_size = self.settings, self.settings.rollout.group_size
        with self.policy.as_old():
            rollouts = roll_out(
                self.policy.velocities,
                prompts,
                self.algorithm.plan(),
                device=self.policy.device,
                is_stopped=self.is_stopped,
            )
        outcomes = self.outcomes(rollouts)
        rewarded = self.rewards(outcomes)
        grouped = rewarded.total.view(-1, group_size)  # [P, K]
        found = advantages(grouped, scale=settings.advantage_scale, clip=settings.advantage_clip)
        contrast = has_contrast(grouped)
        points = [point for point in self.algorithm.points(rollouts) if bool(contrast[point.rollout // group_size])]
        measures = _reward_measures(rewarded, contrast, group_size=group_size)
        experience = Experience(
            prompts=tuple(prompts),
            rollouts=tuple(rollouts),
            advantages=tuple(found.flatten().tolist()),
            points=tuple(points),
            measures=measures | health(outcomes, group_size=group_size),
        )
        return replace(experience, points=self._known_points(experience))

    def batches(self, experience: Experience, *, seed: int) -> list[list[int]]:
        """Numbers of the points of each update, drawn from a seed; no more updates than there are points."""
        count = len(experience.points)
        order = torch.randperm(count, generator=seeded_generator(seed, "order of points")).tolist()
        updates = min(self.settings.updates, count)
        return [order[count * index // updates : count * (index + 1) // updates] for index in range(updates)]

    def backward(self, experience: Experience, batch: Sequence[int]) -> dict[str, float]:
        """Add the gradients of a batch's loss, the mean over its points, to the weights.

        Args:
            experience: Of the round.
            batch: Numbers of points.

        Returns:
            Sums over the batch: "loss", "kl", and the algorithm's own measures.
        """
        sums: dict[str, float] = {}
        points = [experience.points[index] for index in batch]
        for pack in self._packs(points, experience):
            losses = []
            for point, velocity in pack:
                found = self.algorithm.loss(point, velocity, experience.advantages[point.rollout])
                losses.append(found.policy + self.settings.kl * found.kl)
                told = {"loss": float(losses[-1].detach()), "kl": float(found.kl.detach()), **found.measures}
                for name, value in told.items():
                    sums[name] = sums.get(name, 0.0) + value
            (torch.stack(losses).sum() / len(batch)).backward()
        return sums

    def _known_points(self, experience: Experience) -> tuple[Point, ...]:
        """The points with what the old policy and the reference say there."""
        known = experience.points
        if any(point.old is None for point in known):
            with self.policy.as_old():
                packs = self._packs(known, experience)
                known = tuple(replace(point, old=value.cpu()) for pack in packs for point, value in pack)
        if self.settings.kl and self.policy.reference is not None:
            with self.policy.as_reference():
                packs = self._packs(known, experience)
                known = tuple(replace(point, reference=value.cpu()) for pack in packs for point, value in pack)
        return known

    def _packs(self, points: Sequence[Point], about: Experience) -> Iterator[list[tuple[Point, Tensor]]]:
        """Pack after pack, its points with the velocity of the policy that the model is now, float32."""
        device = self.policy.device
        prompts = [about.prompts[about.rollouts[point.rollout].prompt] for point in points]
        for pack in packs_of([prompt.tokens() for prompt in prompts], self.token_budget):
            chosen = [points[index] for index in pack]
            velocities = self.policy.velocities(
                [point.latents.to(device) for point in chosen],
                torch.tensor([point.timestep for point in chosen], device=device),
                [prompts[index].full for index in pack],
                rounded_time=self.algorithm.rounded_time,
            )
            yield [(point, value.float()) for point, value in zip(chosen, velocities, strict=True)]


def _reward_measures(rewarded: Rewarded, contrast: Tensor, *, group_size: int) -> dict[str, float]:
    """Reward, its parts, how it differs within groups, and the share of groups in which it does not."""
    spread = rewarded.total.double().view(-1, group_size).std(dim=1, correction=0).mean()
    parts = {f"reward/{name}": float(values.double().mean()) for name, values in rewarded.parts.items()}
    return {
        "reward": float(rewarded.total.double().mean()),
        **parts,
        "reward_spread": float(spread),
        "groups_without_contrast": 1 - float(contrast.double().mean()),
    }
