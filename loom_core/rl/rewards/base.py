"""What a reward is given and what it gives; several as one weighted sum.

A reward says how good each answer is, the more the better. Only differences between answers to one prompt count, so
that a reward that has nothing to say of a prompt, as of preservation without a source, gives all its answers the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ...data.sample import EncodedSample
from ...errors import TrainingError

NOTHING_TO_SAY = 0.0
"""What a reward gives to answers that it cannot measure."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """An answer as a reward sees it, equal to itself alone; pictures uint8 [F, height, width, 3] on the CPU.

    Args:
        sample: What was asked.
        frames: The answer.
        truth: The sample's target, of the same size, as the codec gives it back.
        source: What was edited, likewise; None without a source.
        latents: Of the answer, float32 [C, F, H, W].
    """

    sample: EncodedSample
    frames: Tensor
    truth: Tensor
    latents: Tensor
    source: Tensor | None = None


class Reward(Protocol):
    """Judges answers. A function of one's own is one as well: `rl.rewards: [{kind: "module:name"}]`."""

    def __call__(self, outcomes: Sequence[Outcome]) -> Tensor:
        """How good each answer is: float [N], finite."""
        ...


@dataclass(frozen=True)
class Rewarded:
    """Rewards of answers.

    Args:
        total: The weighted sum, float32 [N].
        parts: Each reward by its name, before its weight.
    """

    total: Tensor
    parts: Mapping[str, Tensor]


def joined_rewards(every: Sequence[Rewarded]) -> Rewarded:
    """The rewards of all ranks' answers, one rank after the other."""
    parts = {name: torch.cat([each.parts[name] for each in every]) for name in every[0].parts}
    return Rewarded(torch.cat([each.total for each in every]), parts)


class RewardSum:
    """Several rewards as one.

    Args:
        parts: Name -> (reward, weight).
    """

    def __init__(self, parts: Mapping[str, tuple[Reward, float]]) -> None:
        self.parts = dict(parts)

    def __call__(self, outcomes: Sequence[Outcome]) -> Rewarded:
        """All rewards of answers.

        Raises:
            TrainingError: One of them is no number an answer, or not finite.
        """
        found = {name: checked(name, reward(outcomes), outcomes) for name, (reward, _) in self.parts.items()}
        total = torch.zeros(len(outcomes))
        for name, (_, weight) in self.parts.items():
            total += weight * found[name]
        return Rewarded(total, found)


def checked(name: str, values: Tensor, outcomes: Sequence[Outcome]) -> Tensor:
    """Rewards as float32 on the CPU.

    Raises:
        TrainingError: They are no number an answer, or not finite.
    """
    is_wrong = not isinstance(values, Tensor) or values.shape != (len(outcomes),)
    if is_wrong:
        shape = list(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise TrainingError(
            f"the reward {name}, which gave {shape} for {len(outcomes)} answers",
            expected=f"a tensor [{len(outcomes)}]",
            fix="correct the reward, or leave it out of rl.rewards",
        )
    values = values.detach().float().cpu()
    wrong = (~values.isfinite()).nonzero().flatten().tolist()
    if wrong:
        raise TrainingError(
            f"the reward {name}, which gave {float(values[wrong[0]])} for an answer to {outcomes[wrong[0]].sample.key} "
            f"({len(wrong)} of {len(outcomes)} are not finite)",
            expected="finite numbers",
            fix="correct the reward, or leave it out of rl.rewards",
        )
    return values
