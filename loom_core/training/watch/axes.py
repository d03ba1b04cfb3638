"""The axes of a plot: where a value lies in pixels, and which values get a number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_MOST_TICKS = 9
_FEWEST_TICKS = 3
_LOG_RATIO = 8.0
_OUTLIERS = 0.005


@dataclass(frozen=True, kw_only=True)
class Axes:
    """A rectangle of pixels and the values at its edges.

    Args:
        left: Pixel column of `x_min`.
        right: Pixel column of `x_max`.
        top: Pixel row of `y_max`.
        bottom: Pixel row of `y_min`.
        x_min: Least x.
        x_max: Greatest x, above `x_min`.
        y_min: Least y, above 0 on a logarithmic axis.
        y_max: Greatest y, above `y_min`.
        is_log: Whether equal ratios of y have equal distances.
    """

    left: int
    right: int
    top: int
    bottom: int
    x_min: float
    x_max: float
    y_min: float
    y_max: float
    is_log: bool

    def x(self, value: float) -> float:
        """Pixel column of a value."""
        return self.left + (value - self.x_min) / (self.x_max - self.x_min) * (self.right - self.left)

    def y(self, value: float) -> float:
        """Pixel row of a value; what lies outside the rectangle comes out just outside it."""
        if self.is_log:
            value = max(value, self.y_min * 1e-3)
            share = math.log(value / self.y_min) / math.log(self.y_max / self.y_min)
        else:
            share = (value - self.y_min) / (self.y_max - self.y_min)
        return self.bottom - min(max(share, -0.1), 1.1) * (self.bottom - self.top)

    def x_ticks(self) -> list[float]:
        """Values along x that get a number."""
        return linear_ticks(self.x_min, self.x_max)

    def y_ticks(self) -> list[float]:
        """Values along y that get a number."""
        return log_ticks(self.y_min, self.y_max) if self.is_log else linear_ticks(self.y_min, self.y_max)


def value_range(values: Sequence[float], *, always: Sequence[float] = ()) -> tuple[float, float]:
    """A least and a greatest value to plot between.

    Args:
        values: Finite; of many, the few farthest out may fall outside, so that one spike does not flatten a curve.
        always: Finite; always inside.
    """
    ordered = sorted(values)
    cut = int(len(ordered) * _OUTLIERS)
    inside = [*ordered[cut : len(ordered) - cut], *always] or [0.0, 1.0]
    low, high = min(inside), max(inside)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        half = abs(high) / 10 or 0.5
        return low - half, high + half
    return low, high


def padded(low: float, high: float, *, is_log: bool, share: float = 0.05) -> tuple[float, float]:
    """The range with a margin on both sides, as seen on the axis."""
    if is_log:
        factor = (high / low) ** share
        return low / factor, high * factor
    margin = (high - low) * share
    return low - margin, high + margin


def suits_log(low: float, high: float) -> bool:
    """Whether a range is told better on a logarithmic axis."""
    return low > 0 and high / low >= _LOG_RATIO


def linear_ticks(low: float, high: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten inside the range, 3 to 9 of them."""
    rough = (high - low) / (_MOST_TICKS - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten inside the range; the powers alone where it is wide."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    fine = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    fine = [tick for tick in fine if low <= tick <= high]
    if len(fine) < _FEWEST_TICKS:
        return linear_ticks(low, high)
    if len(fine) <= _MOST_TICKS:
        return fine
    coarse = [10.0**power for power in powers if low <= 10.0**power <= high]
    return coarse[:: math.ceil(len(coarse) / _MOST_TICKS)]


def tick_text(value: float) -> str:
    """20000 as 20k, 1500000 as 1.5M, others as short as they are exact."""
    for unit, letter in ((1_000_000, "M"), (1_000, "k")):
        if abs(value) >= unit:
            return f"{value / unit:.6g}{letter}"
    return f"{value:.6g}"
