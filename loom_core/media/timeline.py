"""Where the frames of a clip lie in time, as positions on a grid of constant rate.

The official loader counts frames, so with a variable rate its result drifts from the sound. Here a frame's time stamp
decides: frames are put on a grid of constant rate (each is held until the next), and the official choice of indices is
made on that grid. For a constant rate the grid position of frame n is n, hence the official frames.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from ..geometry import NATIVE_FPS

T = TypeVar("T")

# Rates that cameras, phones and screens mean when their time stamps jitter.
_STANDARD_RATES = (
    12.0, 15.0, 24000 / 1001, 24.0, 25.0, 30000 / 1001, 30.0, 48.0, 50.0, 60000 / 1001, 60.0, 90.0, 120.0, 240.0,
)  # fmt: skip
_JITTER = 0.4  # of a frame's duration; below half, so that rounding stays unambiguous
_RATE_RANGE = (0.7, 1.05)  # of the rate measured; jitter shortens gaps, so the rate meant tends to be lower


@dataclass(frozen=True)
class Timeline:
    """A grid of constant rate under a clip.

    Args:
        fps: Positions a second.
        origin_seconds: Time of position 0, that of the first frame.
        num_positions: Positions up to the end of the clip, at least 1; of its beginning if `is_whole` is False.
        is_constant: True when frame n lies on position n.
        is_whole: False when the clip goes on after the part that was looked at.
        step: Positions from one frame of the quickest stretch to the next; frames lie on multiples of it.
    """

    fps: float
    origin_seconds: float
    num_positions: int
    is_constant: bool
    is_whole: bool
    step: int = 1

    def position(self, moment: float) -> int:
        """Grid position of a time in seconds."""
        return _nearest((moment - self.origin_seconds) * self.fps / self.step) * self.step


def build_timeline(
    times: Sequence[float], *, average_fps: float | None, last_duration: float = 0.0, is_whole: bool = True
) -> Timeline:
    """Fit a grid to the time stamps of a clip.

    Args:
        times: Presentation times in seconds, rising, at least one.
        average_fps: What the file says of itself, if it does.
        last_duration: Seconds for which the last frame stays; 0 if unknown.
        is_whole: True when `times` reach to the end of the clip.

    Returns:
        The grid: at `average_fps` if that puts frame n on position n throughout, else at the finest rate that occurs
        often enough not to be jitter.
    """
    origin = times[0]
    if average_fps and _is_constant(times, average_fps):
        return Timeline(average_fps, origin, len(_positions(times, average_fps)), True, is_whole)
    fps = _prevailing_rate(times, average_fps)
    is_constant = _is_constant(times, fps)
    # Choosing the nearest position is choosing a time to half of it, too coarse below the model's own rate.
    step = 1 if is_constant else max(1, math.ceil(NATIVE_FPS / fps))
    last_position = _nearest((times[-1] - origin) * fps) * step
    held = max(step, _nearest(last_duration * fps * step))
    return Timeline(fps * step, origin, last_position + held, is_constant, is_whole, step)


def choose(placed: Iterable[tuple[int, T]], wanted: Sequence[int], timeline: Timeline) -> Iterator[T]:
    """The frame shown at each wanted position: the one that lies there, else the one before.

    Args:
        placed: (position, frame), positions rising; read no further than needed.
        wanted: Grid positions, rising.
        timeline: The grid; a clip of variable rate holds its last frame up to the end of it.

    Yields:
        One frame for each of `wanted`, in order; fewer if the frames run out.
    """
    remaining = deque(wanted)
    shown: T | None = None
    for position, frame in placed:
        while shown is not None and remaining and remaining[0] < position:
            remaining.popleft()
            yield shown
        while remaining and remaining[0] <= position:
            remaining.popleft()
            yield frame
        if not remaining:
            return
        shown = frame
    if shown is None or timeline.is_constant or not timeline.is_whole:
        return
    while remaining and remaining[0] < timeline.num_positions:
        remaining.popleft()
        yield shown


def _nearest(value: float) -> int:
    return math.floor(value + 0.5)


def _positions(times: Sequence[float], fps: float) -> set[int]:
    return {_nearest((moment - times[0]) * fps) for moment in times}


def _misfit(times: Sequence[float], fps: float) -> list[float]:
    """How far each time lies from the grid, in frame durations."""
    scaled = [(moment - times[0]) * fps for moment in times]
    return [abs(value - _nearest(value)) for value in scaled]


def _is_constant(times: Sequence[float], fps: float) -> bool:
    positions = _positions(times, fps)
    return len(positions) == max(positions) + 1 and max(_misfit(times, fps)) <= _JITTER


def _prevailing_rate(times: Sequence[float], average_fps: float | None) -> float:
    """The rate of the clip's quicker stretches: its shortest gap that is not jitter, as a standard rate if near one."""
    gaps = sorted(later - earlier for earlier, later in pairwise(times) if later > earlier)
    if not gaps:
        return average_fps or NATIVE_FPS
    measured = 1.0 / gaps[len(gaps) // 10]
    known = (*_STANDARD_RATES, *([average_fps] if average_fps else []))
    slowest, fastest = (measured * share for share in _RATE_RANGE)
    near = [rate for rate in known if slowest <= rate <= fastest]
    return min([*near, measured], key=lambda rate: sum(_misfit(times, rate)))
