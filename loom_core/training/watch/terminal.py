"""A training run on a terminal: one line that moves, or log lines where there is no terminal."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from .observer import RunAbout, SilentObserver, StepMetrics, ValidationMetrics
from .smoothing import RunningMean

_WINDOW = 50
_GAP = "  "
_BAR_WIDTHS = ((120, 20), (60, 10))  # columns of the terminal from which the bar is so wide
_REFRESH_SECONDS = 0.1


class TerminalObserver(SilentObserver):
    """Shows progress on a stream.

    Args:
        stream: Where to; a terminal gets a line that is drawn over, anything else lines.
        log_every: Steps between two lines where it is no terminal.
        clock: Seconds, rising.
        columns: Gives the width of the terminal.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        log_every: int = 10,
        clock: Callable[[], float] = time.monotonic,
        columns: Callable[[], int] = lambda: shutil.get_terminal_size().columns,
    ) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._log_every = max(1, log_every)
        self._clock = clock
        self._columns = columns
        self._pace = _Pace(started=clock())
        self._name = ""
        self._drawn_at = -math.inf
        self._drawn_width = 0

    def on_start(self, about: RunAbout) -> None:
        """Say what run this is."""
        self._name = about.name
        self._pace = _Pace(started=self._clock())
        place = f"from step {about.first_step} " if about.first_step else ""
        self._say(f"{about.name}: {place}to step {about.steps}, in {about.folder}")
        for name, value in about.settings.items():
            self._say(f"  {name}: {value}")

    def on_step(self, metrics: StepMetrics) -> None:
        """Renew the line."""
        now = self._clock()
        self._pace.add(metrics, now=now)
        is_last = metrics.step == metrics.steps
        if not self._is_terminal:
            if is_last or metrics.step % self._log_every == 0:
                self._say(_GAP.join([f"step {metrics.step}/{metrics.steps}", *self._pace.parts(metrics, now=now)]))
        elif is_last or now - self._drawn_at >= _REFRESH_SECONDS:
            self._drawn_at = now
            self._draw(self._line(metrics, now=now))

    def on_validation(self, metrics: ValidationMetrics) -> None:
        """Say the losses."""
        thirds = "  ".join(f"{noise} {loss:.4f}" for noise, loss in metrics.by_noise().items())
        self._say(
            f"step {metrics.step}: validation loss {metrics.loss:.4f} of the {metrics.weights} weights  ({thirds})"
        )

    def on_checkpoint(self, step: int, path: Path) -> None:
        """Say where it lies."""
        self._say(f"step {step}: checkpoint {path}")

    def on_note(self, text: str) -> None:
        """Say it."""
        self._say(text)

    def close(self) -> None:
        """End the line."""
        if self._drawn_width:
            self._stream.write("\n")
            self._stream.flush()
            self._drawn_width = 0

    def _line(self, metrics: StepMetrics, *, now: float) -> str:
        # one column less: a full last column makes some terminals break the line
        room = max(1, self._columns() - 1)
        bar = self._bar(metrics.step / max(1, metrics.steps), room)
        line = f"{self._name} {bar}{metrics.step}/{metrics.steps}"[:room]
        for part in self._pace.parts(metrics, now=now):
            if len(line) + len(_GAP) + len(part) > room:
                break
            line += _GAP + part
        return line

    def _bar(self, share: float, room: int) -> str:
        width = next((width for columns, width in _BAR_WIDTHS if room >= columns - 1), 0)
        if not width:
            return ""
        filled = int(width * share)
        full, empty = ("█", "░") if "utf" in (getattr(self._stream, "encoding", None) or "").lower() else ("#", "-")
        return full * filled + empty * (width - filled) + " "

    def _say(self, text: str) -> None:
        line = " ".join(text.splitlines())
        # over what is left of the moving line, which is drawn anew with the next step
        self._stream.write(f"\r{line.ljust(self._drawn_width)}\n" if self._drawn_width else f"{line}\n")
        self._stream.flush()
        self._drawn_width = 0
        self._drawn_at = -math.inf

    def _draw(self, line: str) -> None:
        self._stream.write("\r" + line.ljust(self._drawn_width))
        self._stream.flush()
        self._drawn_width = len(line)


class _Pace:
    """Loss and speed of the last steps, and how long the rest takes."""

    def __init__(self, *, started: float) -> None:
        self._started = started
        self._loss, self._seconds = RunningMean(_WINDOW), RunningMean(_WINDOW)
        self._tokens, self._samples = RunningMean(_WINDOW), RunningMean(_WINDOW)
        self._in_steps = 0.0
        self._done = 0

    def add(self, metrics: StepMetrics, *, now: float) -> None:
        self._loss.add(metrics.headline[1])
        self._seconds.add(metrics.seconds)
        self._tokens.add(metrics.tokens)
        self._samples.add(metrics.samples)
        self._in_steps += metrics.seconds
        self._done += 1
        self._between = max(0.0, now - self._started - self._in_steps) / self._done

    def parts(self, metrics: StepMetrics, *, now: float) -> list[str]:
        """What is told of a step, the most important first."""
        seconds = max(self._seconds.mean, 1e-9)
        # a step as it is now, and what validation and checkpoints have taken between steps so far
        left = (metrics.steps - metrics.step) * (seconds + self._between)
        parts = [f"{metrics.headline[0]} {self._loss.mean:.4f}", f"left {duration(left)}"]
        if metrics.bad_samples:
            parts.append(f"{metrics.bad_samples} bad samples")
        if metrics.skipped_steps:
            parts.append(f"{metrics.skipped_steps} steps skipped")
        return [
            *parts,
            f"{_count(self._tokens.mean / seconds)} tok/s",
            f"{_count(self._samples.mean / seconds)} samples/s",
            f"lr {metrics.lr:.2e}",
            f"grad {metrics.grad_norm:.3g}",
            f"elapsed {duration(now - self._started)}",
        ]


def _count(number: float) -> str:
    """12, 1.2, 0.12 or 12.3k."""
    if number >= 10_000:  # noqa: PLR2004
        return f"{number / 1000:.1f}k"
    return f"{number:.0f}" if number >= 10 else f"{number:.2g}"  # noqa: PLR2004


def duration(seconds: float) -> str:
    """59s, 12m05s, 3h07m or 2d04h."""
    whole = max(0, round(seconds))
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if days:
        return f"{days}d{hours % 24:02d}h"
    if hours:
        return f"{hours}h{minutes % 60:02d}m"
    return f"{minutes}m{whole % 60:02d}s" if minutes else f"{whole}s"
