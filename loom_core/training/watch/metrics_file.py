"""The metrics of a run as a file: one JSON object a line, readable while it grows and after a kill.

A line has "event" (start, step, validation, checkpoint, bad_sample or note), "step", "time" (seconds since 1970) and
the event's own fields. A number that is not finite stands as null, so that any JSON reader takes the file.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ...atomic import atomic_target
from ...data.problems import BadSample
from .observer import RunAbout, SilentObserver, StepMetrics, ValidationLoss, ValidationMetrics

METRICS_FILE = "metrics.jsonl"
"""Its name in the run's folder."""


class MetricsFile(SilentObserver):
    """Appends to a metrics file, each line flushed.

    A resumed run first drops what the file says of later steps, which will be told again, and a line torn by a kill.

    Args:
        path: Of the file; its folder exists.
        clock: Seconds since 1970.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._file: BinaryIO | None = None
        self._step = 0

    def on_start(self, about: RunAbout) -> None:
        """Cut the file back to the steps done and write what run this is."""
        self.close()
        if self._path.exists():
            drop_later(self._path, about.first_step)
        self._step = about.first_step
        self._write("start", name=about.name, steps=about.steps, settings=dict(about.settings))

    def on_step(self, metrics: StepMetrics) -> None:
        """Write a line."""
        self._step = metrics.step
        self._write("step", **asdict(metrics))

    def on_validation(self, metrics: ValidationMetrics) -> None:
        """Write a line."""
        self._write("validation", **asdict(metrics), loss=metrics.loss)

    def on_checkpoint(self, step: int, path: Path) -> None:
        """Write a line."""
        self._write("checkpoint", step=step, path=path.name)

    def on_bad_samples(self, step: int, samples: Sequence[BadSample]) -> None:
        """Write a line for each."""
        for sample in samples:
            self._write("bad_sample", step=step, set=sample.set_name, sample=sample.key, reason=sample.reason)

    def on_note(self, text: str) -> None:
        """Write a line."""
        self._write("note", text=text)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, event: str, **fields: Any) -> None:
        if self._file is None:
            # unbuffered: a line is one write, so that a kill tears at most the last
            self._file = self._path.open("ab", buffering=0)
        line = {"event": event, "step": self._step, "time": round(self._clock(), 3)} | fields
        self._file.write(json.dumps(_finite(line), ensure_ascii=False).encode() + b"\n")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """Every whole line of a metrics file, in order; torn or foreign lines are passed over."""
    with path.open("rb") as file:
        for line in file:
            event = _parsed(line)
            if event is not None:
                yield event


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    is_ours = isinstance(event, dict) and "event" in event and isinstance(event.get("step"), int)
    return event if is_ours and line.endswith(b"\n") else None


def is_measured(path: Path, step: int) -> bool:
    """Whether a metrics file, if there is one, has validation losses of a step."""
    events = read_events(path) if path.exists() else ()
    return any(event["event"] == "validation" and event["step"] == step for event in events)


def drop_later(path: Path, step: int) -> None:
    """Rewrite a metrics file without the lines after `step` and without torn ones; it is whole at every moment.

    Raises:
        OutputError: The folder is not writable.
        ResourceError: The disk is full.
    """
    with path.open("rb") as file, atomic_target(path) as temporary, temporary.open("wb") as kept:
        for line in file:
            event = _parsed(line)
            if event is not None and event["step"] <= step:
                kept.write(line)


@dataclass(frozen=True)
class History:
    """What a metrics file says of a run.

    Args:
        name: Of the run; empty when the file does not say.
        steps: In order.
        validations: In order.
    """

    name: str
    steps: tuple[StepMetrics, ...]
    validations: tuple[ValidationMetrics, ...]


def read_history(path: Path) -> History:
    """Read a metrics file; without one the history is empty. Of a step told twice the last counts."""
    name, steps, validations = "", {}, {}
    for event in read_events(path) if path.exists() else ():
        fields = {key: value for key, value in event.items() if key not in ("event", "time")}
        if event["event"] == "start":
            name = str(event.get("name", ""))
        elif event["event"] == "step":
            steps[event["step"]] = StepMetrics(**_numbers(fields))
        elif event["event"] == "validation":
            cells = tuple(ValidationLoss(**_numbers(cell)) for cell in fields.pop("losses"))
            del fields["loss"]
            key = (event["step"], str(fields.get("weights")))
            validations[key] = ValidationMetrics(losses=cells, **fields)
    return History(
        name, tuple(steps[key] for key in sorted(steps)), tuple(validations[key] for key in sorted(validations))
    )


def _numbers(fields: Mapping[str, Any]) -> dict[str, Any]:
    inner = {key: _numbers(value) for key, value in fields.items() if isinstance(value, Mapping)}
    return {key: math.nan if value is None else value for key, value in fields.items()} | inner
