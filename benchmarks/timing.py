"""Processor time of calls that are to be compared.

Processor time, not time on the clock: another program on the machine then hardly changes a ratio. The candidates take
turns, so that a slow minute hits all of them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch


@torch.no_grad()
def take_turns(candidates: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, list[float]]:
    """Seconds of processor time of every call.

    Args:
        candidates: What to time, by name. Each is called once more beforehand, to warm up.
        rounds: Calls of each that count; every other round runs in the opposite order.

    Returns:
        A list of `rounds` times for each name.
    """
    for function in candidates.values():
        function()
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(rounds):
        names = list(candidates) if number % 2 == 0 else list(candidates)[::-1]
        for name in names:
            start = time.process_time()
            candidates[name]()
            seconds[name].append(time.process_time() - start)
    return seconds


def ratio_spread(numerator: list[float], denominator: list[float]) -> tuple[float, float]:
    """Smallest and largest ratio of a round."""
    ratios = [above / below for above, below in zip(numerator, denominator, strict=True)]
    return min(ratios), max(ratios)


def median(seconds: list[float]) -> float:
    """Median of times."""
    return statistics.median(seconds)
