"""DiffusionNFT: learning from good and bad answers with the flow-matching loss alone.

Clean answers of the old policy are noised as in training. At each point the policy v and the old one v_old imply two
others, one better and one worse by as much:

    v+ = (1 - beta) v_old + beta v        v- = (1 + beta) v_old - beta v        v+ + v- = 2 v_old

A good answer pulls v+ toward itself, a bad one v-, so that v moves away from it. With r, the probability that an answer
is good, the loss is [r E(v+) + (1 - r) E(v-)] / beta, E being the error of the clean latents that a velocity implies,
divided by its own mean size (without a gradient). Neither trajectories nor probabilities nor guidance are needed;
where there is guidance, v is what the branches say together.

Source: DiffusionNFT (arXiv 2509.16117). Differences:
- noise levels are drawn as in training, shifted by size, instead of from the sampling schedule;
- the loss is not multiplied by the advantage's clip, so that r = 1 with beta = 1 is plain flow matching; a published
  `kl` of 1e-4 is 2e-5 here;
- the answers to a prompt meet the same noise levels and the same noise. Their advantages sum to zero, so that what the
  noise alone does to the gradient cancels, which otherwise is far larger than what the reward says: of loom-tiny, the
  gradients of two halves of 96 prompts had a cosine of 0.25 with shared noise, and of 0.07 without (6 levels an
  answer, reward of success alone);
- groups without contrast are left out, but for corrections; there the two pulls cancel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..config.rl import NFTSettings
from ..data.seeds import derive_seed
from ..models.source import NUM_TRAIN_TIMESTEPS
from ..training.flow import noised_latents, velocity_target
from ..training.packed import draw
from .advantages import goodness
from .points import Point, PointLoss, mean_square, no_kl
from .rollout import Rollout, RolloutPlan

_LEAST_SIZE = 1e-5  # of a mean error that is divided by


def implicit_policies(velocity: Tensor, old: Tensor, *, beta: float) -> tuple[Tensor, Tensor]:
    """The better and the worse policy that a policy implies beside the old one: v+ and v-."""
    return (1 - beta) * old + beta * velocity, (1 + beta) * old - beta * velocity


def clean_error(velocity: Tensor, target: Tensor, *, level: float, is_self_normalised: bool = True) -> Tensor:
    """Mean squared error of the clean latents that a velocity implies, [].

    They are z - t v, so that their error is t times the velocity's.

    Args:
        velocity: Predicted.
        target: What flow matching asks for.
        level: t, in (0, 1).
        is_self_normalised: Divide by the mean absolute error, as a number. Without, it is the velocity's own error,
            which flow matching minimises.
    """
    if not is_self_normalised:
        return mean_square(velocity - target)
    error = level * (velocity - target)
    return mean_square(error) / error.detach().abs().mean().clamp(min=_LEAST_SIZE)


@dataclass(frozen=True)
class NFTLoss:
    """The loss at a point.

    Args:
        loss: [], with a graph.
        contrast: How differently good and bad would be judged: |E(v+) - E(v-)|; 0 where the policy is the old one.
    """

    loss: Tensor
    contrast: float


def nft_loss(
    velocity: Tensor,
    old: Tensor,
    target: Tensor,
    *,
    good: Tensor,
    level: float,
    beta: float,
    is_self_normalised: bool = True,
) -> NFTLoss:
    """The loss of one answer at one noise level.

    Args:
        velocity: Of the policy, with a graph.
        old: Of the old policy.
        target: What flow matching asks for.
        good: Probability r of being a good answer, [].
        level: t, in (0, 1).
        beta: How far the implicit policies lie from the old one.
        is_self_normalised: See `clean_error`.
    """
    errors = [
        clean_error(each, target, level=level, is_self_normalised=is_self_normalised)
        for each in implicit_policies(velocity, old, beta=beta)
    ]
    better, worse = errors
    return NFTLoss((good * better + (1 - good) * worse) / beta, float((better - worse).detach().abs()))


@dataclass(frozen=True, kw_only=True)
class NoisedPoint(Point):
    """An answer, noised.

    Args:
        target: The velocity that flow matching asks for.
        level: t, in (0, 1).
    """

    target: Tensor
    level: float


class DiffusionNFT:
    """The algorithm; see the module's docstring.

    Args:
        settings: Its own.
        rollouts: How the old policy answers.
        advantage_clip: See `RLSettings`.
        shift_scale: Of the noise levels, see `TrainingConfig.timestep_shift_scale`.
        base_tokens: Likewise.
        rounded_time: See `Algorithm`.
    """

    def __init__(
        self,
        settings: NFTSettings,
        rollouts: RolloutPlan,
        *,
        advantage_clip: float = 5.0,
        shift_scale: float = 0.5,
        base_tokens: int = 64,
        rounded_time: bool = False,
    ) -> None:
        self.settings, self.rollouts, self.advantage_clip = settings, rollouts, advantage_clip
        self.shift_scale, self.base_tokens, self.rounded_time = shift_scale, base_tokens, rounded_time

    def plan(self) -> RolloutPlan:
        """See `Algorithm`."""
        return self.rollouts

    def points(self, rollouts: Sequence[Rollout]) -> list[NoisedPoint]:
        """Each answer at a few noise levels, each with its noise, the same for all answers to a prompt."""
        return [
            self._point(place, rollout, number)
            for place, rollout in enumerate(rollouts)
            for number in range(self.settings.levels_per_answer)
        ]

    def loss(self, point: NoisedPoint, velocity: Tensor, advantage: float) -> PointLoss:
        """See `Algorithm`."""
        assert point.old is not None
        settings, old = self.settings, point.old.to(velocity)
        found = nft_loss(
            velocity,
            old,
            point.target.to(velocity),
            good=goodness(torch.tensor(advantage), clip=self.advantage_clip).to(velocity),
            level=point.level,
            beta=settings.beta,
            is_self_normalised=settings.is_self_normalised,
        )
        kl = no_kl(velocity) if point.reference is None else mean_square(velocity - point.reference.to(velocity))
        deviation = float((velocity.detach() - old).abs().mean())
        return PointLoss(found.loss, kl, {"contrast": found.contrast, "deviation": deviation})

    def _point(self, place: int, rollout: Rollout, number: int) -> NoisedPoint:
        sample = replace(rollout.sample, seed=derive_seed(rollout.sample.seed, "level", number), target=rollout.clean)
        draws = draw([sample], shift_scale=self.shift_scale, base_tokens=self.base_tokens)
        noise, level = draws.noises[0], draws.levels[0]
        return NoisedPoint(
            rollout=place,
            latents=noised_latents(rollout.clean, noise, level),
            timestep=float(level * NUM_TRAIN_TIMESTEPS),
            target=velocity_target(rollout.clean, noise),
            level=float(level),
        )
