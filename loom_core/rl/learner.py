"""A round: answers of the old policy, rewards, advantages, and the gradients that follow from them.

Nothing here updates a weight; `trainer.RLTrainer` does, and says what is saved when.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..config.rl import RLSettings, RolloutSettings
from ..data.seeds import seeded_generator
from ..training.interruption import IsStopped, never_stopped
from ..training.ranks import OneRank, Ranks
from .advantages import advantages, has_contrast
from .corrections import correction, is_corrected
from .health import Looks, health, looks_of
from .points import Algorithm, Point
from .policy import Policy
from .rewards.base import Outcome, Rewarded, joined_rewards
from .rollout import Prompt, Rollout, check_finite, guided_velocities, packs_of, roll_out
from .together import added, in_step, on_all


@dataclass(frozen=True)
class Experience:
    """What a round is learned from.

    Args:
        prompts: That were answered.
        rollouts: Their answers, group after group.
        advantages: Of each answer.
        points: Of the answers of groups with contrast, and those that are corrected.
        filler: A point that is computed for nothing where other ranks have more packs of points.
        measures: Numbers to watch, of all ranks.
    """

    prompts: tuple[Prompt, ...]
    rollouts: tuple[Rollout, ...]
    advantages: tuple[float, ...]
    points: tuple[Point, ...]
    filler: Point
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
        ranks: All of which have prompts of their own, and call the same methods in the same order.
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
        ranks: Ranks | None = None,
    ) -> None:
        self.policy, self.algorithm, self.rewards, self.outcomes = policy, algorithm, rewards, outcomes
        self.settings, self.token_budget, self.ranks = settings, token_budget, ranks or OneRank()
        self.is_stopped: IsStopped = never_stopped
        """Whether a stop was asked for, upon which a round is given up while it is still being answered."""

    def collect(self, prompts: Sequence[Prompt]) -> Experience:
        """Have the old policy answer, and find what is to be learned from it.

        Raises:
            FailedTogetherError: An answer or a reward is not finite, or a reward fails or is of the wrong shape.
            GivenUpError: A stop was asked for.
        """
        with self.policy.as_old():
            rollouts = roll_out(
                self.policy.velocities,
                prompts,
                self.algorithm.plan(),
                device=self.policy.device,
                is_stopped=self.is_stopped,
                ranks=self.ranks,
            )
        experience = self._rewarded(prompts, rollouts)
        return replace(experience, points=self._known_points(experience))

    def _rewarded(self, prompts: Sequence[Prompt], rollouts: Sequence[Rollout]) -> Experience:
        """What is to be learned from answers, which all ranks' answers say."""
        settings, group_size = self.settings, self.settings.rollout.group_size
        judged = on_all(lambda: self._judged(rollouts), self.ranks)
        every = self.ranks.gather(judged)
        whole = joined_rewards([rewarded for rewarded, _ in every])
        grouped = whole.total.view(-1, group_size)  # [P of all ranks, K]
        found = advantages(grouped, scale=settings.advantage_scale, clip=settings.advantage_clip).flatten()
        contrast = has_contrast(grouped)
        start = sum(len(rewarded.total) for rewarded, _ in every[: self.ranks.rank])
        points = self.algorithm.points(rollouts)
        return Experience(
            prompts=tuple(prompts),
            rollouts=tuple(rollouts),
            advantages=tuple(found[start : start + len(rollouts)].tolist()),
            points=tuple(
                point
                for point in points
                if bool(contrast[(start + point.rollout) // group_size])
                or (settings.corrections and is_corrected(rollouts[point.rollout]))
            ),
            filler=points[0],
            measures=_reward_measures(whole, contrast, settings.rollout) | health([looks for _, looks in every]),
        )

    def _judged(self, rollouts: Sequence[Rollout]) -> tuple[Rewarded, Looks]:
        """Rewards of this rank's answers, and how they look."""
        check_finite(rollouts)
        outcomes = self.outcomes(rollouts)
        own = [outcome for outcome, rollout in zip(outcomes, rollouts, strict=True) if not rollout.is_target]
        return self.rewards(outcomes), looks_of(own, group_size=self.settings.rollout.own_answers)

    def batches(self, experience: Experience, *, seed: int) -> list[list[int]]:
        """Numbers of this rank's points of each update, drawn from a seed; as many updates on all ranks.

        No more than the rank with the most points has; where one has fewer, some of its batches are empty.
        """
        count = len(experience.points)
        order = torch.randperm(count, generator=seeded_generator(seed, "order of points")).tolist()
        updates = min(self.settings.updates, max(self.ranks.gather(count)))
        return [order[count * index // updates : count * (index + 1) // updates] for index in range(updates)]

    def backward(self, experience: Experience, batch: Sequence[int]) -> dict[str, float]:
        """Add the gradients of a batch's loss, the mean over its points on all ranks, to the weights.

        Args:
            experience: Of the round.
            batch: Numbers of points of this rank.

        Returns:
            Sums over the batch of all ranks: "points", "loss", "kl", and the algorithm's own measures.
        """
        count = sum(self.ranks.gather(len(batch)))
        sums: dict[str, float] = {"points": len(batch)}
        points = [experience.points[index] for index in batch]
        for pack, velocities in self._packs(points, experience):
            losses = [0 * velocity.sum() for velocity in velocities] if not pack else []
            for point, velocity in zip(pack, velocities, strict=False):
                found = self.algorithm.loss(point, velocity, experience.advantages[point.rollout])
                corrected = self._correction(point, velocity, experience.rollouts[point.rollout])
                losses.append(found.policy + self.settings.kl * found.kl + self.settings.corrections * corrected)
                told = {"loss": float(losses[-1].detach()), "kl": float(found.kl.detach()), **found.measures}
                if self.settings.corrections:
                    told["correction"] = float(corrected.detach())
                for name, value in told.items():
                    sums[name] = sums.get(name, 0.0) + value
            # times the number of ranks, over which whatever spreads the model takes the mean
            (torch.stack(losses).sum() / count * self.ranks.size).backward()
        return added(sums, self.ranks)

    def _correction(self, point: Point, velocity: Tensor, rollout: Rollout) -> Tensor:
        """How far a velocity leads past the target, [], with a graph; zero where that does not count."""
        if self.settings.corrections == 0 or not is_corrected(rollout):
            return torch.zeros((), device=velocity.device)
        return correction(velocity, point, rollout.sample.target)

    def _known_points(self, experience: Experience) -> tuple[Point, ...]:
        """The points with what the old policy and the reference say there."""
        known = experience.points
        if experience.filler.old is None:
            with self.policy.as_old():
                values = self._velocities(known, experience)
            known = tuple(replace(point, old=value) for point, value in zip(known, values, strict=True))
        if self.settings.kl and self.policy.reference is not None:
            with self.policy.as_reference():
                values = self._velocities(known, experience)
            known = tuple(replace(point, reference=value) for point, value in zip(known, values, strict=True))
        return known

    def _velocities(self, points: Sequence[Point], about: Experience) -> list[Tensor]:
        """Of the policy that the model is now, at each point, float32 on the CPU."""
        packs = self._packs(points, about)
        return [value.cpu() for pack, velocities in packs if pack for value in velocities]

    def _packs(self, points: Sequence[Point], about: Experience) -> Iterator[tuple[list[Point], list[Tensor]]]:
        """Pack after pack, its points and the velocities of the policy that the model is now, float32.

        Where other ranks have more packs: no points, and velocities of the filler.
        """
        device = self.policy.device
        prompts = [about.prompts[about.rollouts[point.rollout].prompt] for point in points]
        packs = list(packs_of([prompt.tokens() for prompt in prompts], self.token_budget))
        for pack in in_step(packs, self.ranks):
            chosen = [points[index] for index in pack or ()]
            run = chosen or [about.filler]
            yield (
                chosen,
                guided_velocities(
                    self.policy.velocities,
                    [point.latents.to(device) for point in run],
                    torch.tensor([point.timestep for point in run], device=device),
                    [about.prompts[about.rollouts[point.rollout].prompt] for point in run],
                    rounded_time=self.algorithm.rounded_time,
                ),
            )


def _reward_measures(rewarded: Rewarded, contrast: Tensor, settings: RolloutSettings) -> dict[str, float]:
    """Reward of the policy's own answers, its parts, how it differs within groups, and the share where it does not."""

    def own(values: Tensor) -> Tensor:
        return values.double().view(-1, settings.group_size)[:, : settings.own_answers]

    total = own(rewarded.total)
    return {
        "reward": float(total.mean()),
        **{f"reward/{name}": float(own(values).mean()) for name, values in rewarded.parts.items()},
        "reward_spread": float(total.std(dim=1, correction=0).mean()),
        "groups_without_contrast": 1 - float(contrast.double().mean()),
    }
