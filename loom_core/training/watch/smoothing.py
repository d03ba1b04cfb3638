"""A running mean that forgets, without the pull towards zero at its start."""

from __future__ import annotations

import math
from collections.abc import Iterable


class RunningMean:
    """Exponentially weighted mean, divided by the sum of its weights; values that are not finite are left out.

    Args:
        window: Number of last values that make up about two thirds of the mean, at least 1 (then the last value).
    """

    def __init__(self, window: float) -> None:
        self._decay = 1.0 - 1.0 / max(1.0, window)
        self._sum = 0.0
        self._weight = 0.0

    def add(self, value: float) -> float:
        """Take a value in and give the mean; nan as long as there was no finite value."""
        if math.isfinite(value):
            self._sum = self._decay * self._sum + value
            self._weight = self._decay * self._weight + 1.0
        return self.mean

    @property
    def mean(self) -> float:
        """The mean so far; nan without a value."""
        return self._sum / self._weight if self._weight else math.nan


def smoothed(values: Iterable[float], *, window: float) -> list[float]:
    """The running mean after each value."""
    mean = RunningMean(window)
    return [mean.add(value) for value in values]
