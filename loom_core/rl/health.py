"""How answers look beside the reward, and when a run is stopped for it.

All measures are parts of what the samples' targets have, so that rounds with other prompts can be compared. Known ways
in which a reward rises and nobody is served: clips freeze or blur, all answers become one, latents grow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..config.rl import StopSettings
from ..evaluation.measures import laplacian
from .rewards.appearance import motion
from .rewards.base import Outcome

MEASURES = ("motion", "sharpness", "diversity", "size")
"""What is watched beside the reward."""


Looks = Mapping[str, tuple[float, float]]
"""By measure what answers have of it and what as many targets have, summed, so that ranks can be added up."""
_SQUARED = ("diversity", "size")


def looks_of(outcomes: Sequence[Outcome], *, group_size: int) -> Looks:
    """How answers look.

    Args:
        outcomes: Group after group.
        group_size: Answers to a prompt.

    Returns:
        motion: Change from frame to frame.
        sharpness: Size of the Laplacian.
        diversity: Squared distance of a group's latents to their mean, and squares of the targets'.
        size: Squares of the latents, likewise.
    """
    asked = outcomes[::group_size]  # one of each prompt, whose answers share their truth
    looks = {
        name: (
            sum(measure(outcome.frames) for outcome in outcomes),
            group_size * sum(measure(outcome.truth) for outcome in asked),
        )
        for name, measure in (("motion", motion), ("sharpness", laplacian))
    }
    wanted = group_size * _squares([outcome.sample.target for outcome in asked])
    groups = [
        torch.stack([outcome.latents for outcome in outcomes[start : start + group_size]])
        for start in range(0, len(outcomes), group_size)
    ]
    looks["diversity"] = _squares([group - group.mean(dim=0) for group in groups]), wanted
    looks["size"] = _squares([outcome.latents for outcome in outcomes]), wanted
    return looks


def health(every: Sequence[Looks]) -> dict[str, float]:
    """Measures of a round, as parts of the targets'; one that says nothing, such as motion of stills, is left out.

    Args:
        every: Of each rank's answers.

    Returns:
        Ratios of what `looks_of` has; for diversity and size of the roots of the mean squares.
    """
    found: dict[str, float] = {}
    for name in MEASURES:
        has, wanted = (sum(values) for values in zip(*(looks[name] for looks in every), strict=True))
        if wanted > 0:
            found[name] = (has / wanted) ** (0.5 if name in _SQUARED else 1)
    return found


def _squares(tensors: Sequence[Tensor]) -> float:
    return sum(float(tensor.double().square().sum()) for tensor in tensors)


@dataclass
class Stops:
    """Watches the rounds of a run.

    Args:
        settings: When it is stopped.
        first: Values of the first rounds, by measure.
        last: Those of the last rounds.
    """

    settings: StopSettings
    first: dict[str, list[float]] = field(default_factory=dict)
    last: dict[str, list[float]] = field(default_factory=dict)

    @classmethod
    def from_state(cls, settings: StopSettings, state: Mapping[str, Any]) -> Stops:
        """Where `state` left it; from the start without one."""
        return cls(settings, *({name: list(values) for name, values in state.get(part, {}).items()} for part in _PARTS))

    def state(self) -> dict[str, Any]:
        """As plain values."""
        return {part: {name: list(values) for name, values in getattr(self, part).items()} for part in _PARTS}

    def reason(self, measures: Mapping[str, float]) -> str | None:
        """Take a round in; why the run is to be stopped, None if it is not.

        Args:
            measures: "reward" and those of `health`.
        """
        for name in ("reward", *MEASURES):
            if name in measures:
                self._take(name, measures[name])
        rises = self._is_known("reward") and self._now("reward") > self._then("reward")
        settings = self.settings
        for name, verb, least in (
            ("motion", "freezes", settings.least_motion),
            ("sharpness", "blurs", settings.least_sharpness),
        ):
            if rises and self._is_below(name, least):
                return f"the reward rises while the result {verb}: {self._change('reward')}, {self._change(name)}"
        if self._is_below("diversity", settings.least_diversity):
            return f"all answers to a prompt become one: {self._change('diversity')}"
        is_grown = settings.most_growth and self._is_known("size")
        if is_grown and self._now("size") > settings.most_growth * self._then("size"):
            return f"clean latents grow: {self._change('size')}"
        return None

    def _take(self, name: str, value: float) -> None:
        first, last = self.first.setdefault(name, []), self.last.setdefault(name, [])
        if len(first) < self.settings.first_rounds:
            first.append(value)
            return
        last.append(value)
        del last[: -self.settings.last_rounds]

    def _is_known(self, name: str) -> bool:
        return len(self.last.get(name, ())) >= self.settings.last_rounds

    def _then(self, name: str) -> float:
        return sum(self.first[name]) / len(self.first[name])

    def _now(self, name: str) -> float:
        return sum(self.last[name]) / len(self.last[name])

    def _is_below(self, name: str, least: float) -> bool:
        return bool(least) and self._is_known(name) and self._now(name) < least * self._then(name)

    def _change(self, name: str) -> str:
        return f"{name} {self._then(name):.3g} at first, {self._now(name):.3g} now"


_PARTS = ("first", "last")
