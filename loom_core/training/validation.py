"""The loss of held-out samples by task and noise third, with the same noise every time.

19 even noise levels are spread over the samples: sample i is measured at level i, and, with several levels a sample, at
others evenly spaced from there. Nothing is drawn anew between two measurements, so that their difference is the
model's. Source of the levels and thirds: the official trainer.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Protocol

import torch
from torch import Tensor, nn

from ..data.sample import EncodedSample
from .ema import Ema, measured_weights
from .interruption import IsStopped, never_stopped
from .watch.observer import NOISE_THIRDS, ValidationLoss, ValidationMetrics

NUM_LEVELS = 19


class FixedObjective(Protocol):
    """Squared errors of a model's predictions at given noise levels."""

    def at_levels(self, sample: EncodedSample, levels: Tensor) -> Tensor:
        """The squared error of a sample, summed over its elements, at each of the levels [K] in (0, 1): float32 [K]."""
        ...


def noise_third(level: float) -> str:
    """Which third of the noise levels one in (0, 1) belongs to."""
    return NOISE_THIRDS[min(int(level * len(NOISE_THIRDS)), len(NOISE_THIRDS) - 1)]


def validation_levels(index: int, levels_per_sample: int) -> list[float]:
    """Noise levels that a sample is measured at.

    Args:
        index: Of the sample, from 0.
        levels_per_sample: How many, at most 19.
    """
    count = min(levels_per_sample, NUM_LEVELS)
    places = [(index + turn * NUM_LEVELS // count) % NUM_LEVELS for turn in range(count)]
    return [(place + 1) / (NUM_LEVELS + 1) for place in places]


class Validator:
    """Measures a model on held-out samples.

    Args:
        samples: Made in order, anew at every measurement; none of them has its conditions dropped.
        objective: Runs the model.
        model: Whose weights are measured.
        ema: If given, its weights are measured instead.
        levels_per_sample: See `validation_levels`.
    """

    def __init__(
        self,
        samples: Iterable[EncodedSample],
        objective: FixedObjective,
        *,
        model: nn.Module,
        ema: Ema | None = None,
        levels_per_sample: int = 3,
    ) -> None:
        self.samples, self.objective, self.model, self.ema = samples, objective, model, ema
        self.levels_per_sample = levels_per_sample

    def __call__(self, step: int, is_stopped: IsStopped = never_stopped) -> ValidationMetrics | None:
        """Losses after a step; None where a stop was asked for before all samples were measured."""
        start = time.perf_counter()
        sums: dict[tuple[str, str], list[float]] = {}
        with measured_weights(self.model, self.ema):
            for index, sample in enumerate(self.samples):
                if is_stopped():
                    return None
                self._measure(index, sample, sums)
        losses = tuple(
            ValidationLoss(task=task, noise=third, loss=sum(values) / len(values), count=len(values))
            for (task, third), values in sorted(
                sums.items(), key=lambda item: (item[0][0], NOISE_THIRDS.index(item[0][1]))
            )
        )
        weights = "model" if self.ema is None else "ema"
        return ValidationMetrics(step=step, losses=losses, weights=weights, seconds=time.perf_counter() - start)

    def _measure(self, index: int, sample: EncodedSample, sums: dict[tuple[str, str], list[float]]) -> None:
        levels = validation_levels(index, self.levels_per_sample)
        errors = self.objective.at_levels(sample, torch.tensor(levels))
        for level, error in zip(levels, errors.tolist(), strict=True):
            sums.setdefault((sample.task.name, noise_third(level)), []).append(error / sample.target.numel())
