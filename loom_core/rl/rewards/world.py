"""Rewards of the tiny world, whose right answers are known: success, the single things asked for, what stayed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ...config.data import DataConfig
from ...data.sample import EncodedSample
from ...data.world.samples import WorldSample, WorldSettings, make_sample
from ...data.world.source import WorldSource, world_source
from ...errors import ConfigError, TrainingError
from ...evaluation.judge import Verdict, judge
from ...evaluation.measures import unchanged_psnr
from ...protocols import VideoCodec
from .appearance import graded
from .base import NOTHING_TO_SAY, Outcome

_KEPT = 256


class WorldKnowledge:
    """Finds what is known about a sample of the world again, by its key, and judges answers once.

    Args:
        data: Of the run; all its sets are worlds, of unlike seeds or splits, since keys name only those.
        codec: Whose blur the judge allows for; None for none.

    Raises:
        ConfigError: A set is none, or two would have equal keys.
    """

    def __init__(self, data: DataConfig, *, codec: VideoCodec | None) -> None:
        self.codec = codec
        self._worlds: dict[str, WorldSettings] = {}
        for entry in data.sets:
            if entry.kind != "world":
                raise ConfigError(
                    f"a reward of the world with the {entry.kind} set {entry.label}",
                    expected="sets of the kind world alone",
                    fix="take other rewards, or other sets",
                )
            source: WorldSource = world_source(entry.options, name=entry.label)
            prefix = f"{source.settings.split}-{source.settings.seed}"
            if prefix in self._worlds:
                raise ConfigError(
                    f"two worlds of the seed {source.settings.seed}",
                    expected="a seed for each, by which a sample's world is known",
                    fix=f"give {entry.label} another `seed` in its options",
                )
            self._worlds[prefix] = source.settings
        self._find = lru_cache(maxsize=_KEPT)(self._made)
        self._verdicts: WeakKeyDictionary[Outcome, Verdict] = WeakKeyDictionary()

    def find(self, sample: EncodedSample) -> WorldSample:
        """The sample with its request.

        Raises:
            TrainingError: It is not of these worlds.
        """
        found = self._find(sample.key)
        if (found.sample.instruction, found.sample.task.name) != (sample.instruction, sample.task.name):
            raise TrainingError(f"{sample.key}, which asks for something else", expected="the world's own sample")
        return found

    def verdict(self, outcome: Outcome) -> Verdict:
        """What became of a request, briefly; an answer is judged once, whichever rewards ask."""
        if outcome not in self._verdicts:
            request = self.find(outcome.sample).request
            self._verdicts[outcome] = judge(request, outcome.frames, codec=self.codec, is_brief=True)
        return self._verdicts[outcome]

    def _made(self, key: str) -> WorldSample:
        prefix, _, index = key.rpartition("-")
        if prefix not in self._worlds or not index.isdecimal():
            raise TrainingError(f"sample {key}, of no world of this run", expected=" or ".join(self._worlds))
        return make_sample(int(index), self._worlds[prefix])


@dataclass(frozen=True)
class Success:
    """1 where what was asked is there and nothing else changed, else 0."""

    world: WorldKnowledge

    def __call__(self, outcomes: Sequence[Outcome]) -> Tensor:
        """See `Reward`."""
        return torch.tensor([float(self.world.verdict(outcome).is_right) for outcome in outcomes])


@dataclass(frozen=True)
class AsksSeen:
    """Share of the single things asked for that are seen: there is contrast where nothing is wholly right yet."""

    world: WorldKnowledge

    def __call__(self, outcomes: Sequence[Outcome]) -> Tensor:
        """See `Reward`."""
        return torch.tensor([_share(self.world.verdict(outcome)) for outcome in outcomes])


@dataclass(frozen=True)
class Unchanged:
    """How well that stayed which the edit does not touch, against the exact pictures."""

    world: WorldKnowledge

    def __call__(self, outcomes: Sequence[Outcome]) -> Tensor:
        """See `Reward`."""
        return torch.tensor([self._value(outcome) for outcome in outcomes])

    def _value(self, outcome: Outcome) -> float:
        sample = self.world.find(outcome.sample).sample
        if sample.source is None:
            return NOTHING_TO_SAY
        return graded(unchanged_psnr(outcome.frames, source=sample.source.frames, truth=sample.target.frames))


def _share(verdict: Verdict) -> float:
    if not verdict.asks:
        return float(verdict.is_asked_right)
    return sum(ask.is_right for ask in verdict.asks) / len(verdict.asks)
