"""Means over few seeds, and how sure they are: Student's t, two-sided, 95 %."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

QUANTILES = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""0.975 quantile of Student's t with 1, 2 ... degrees of freedom. Source: any table of the distribution."""


@dataclass(frozen=True)
class Estimate:
    """A mean and its interval.

    Args:
        mean: Over the seeds.
        half: Half the width of the interval; None for a single seed, of which nothing is known.
        count: Seeds.
    """

    mean: float
    half: float | None
    count: int

    @property
    def is_apart_from_zero(self) -> bool:
        """Whether zero lies outside the interval."""
        return self.half is not None and abs(self.mean) > self.half


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and interval of one number a seed.

    Args:
        values: 1 to 11 of them, independent of each other.
    """
    count = len(values)
    if not 1 <= count <= len(QUANTILES) + 1:
        raise ValueError(f"{count} values; an interval is known of 1 to {len(QUANTILES) + 1}")
    mean = statistics.fmean(values)
    half = None if count == 1 else QUANTILES[count - 2] * statistics.stdev(values) / math.sqrt(count)
    return Estimate(mean, half, count)


def difference(values: Mapping[int, float], base: Mapping[int, float]) -> Estimate | None:
    """Mean and interval of the differences at equal seeds; None where no seed has both.

    Args:
        values: Seed -> number.
        base: Seed -> number that is subtracted.
    """
    common = sorted(values.keys() & base.keys())
    return estimate([values[seed] - base[seed] for seed in common]) if common else None
