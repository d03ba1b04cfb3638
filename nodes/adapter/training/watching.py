"""A training run as its node shows it: a bar, a line, and the loss curve with the newest samples below it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from comfy import model_management

from ....loom_core.data.problems import BadSample
from ....loom_core.training.watch.curve import curve_panel
from ....loom_core.training.watch.grid import SAMPLES_FOLDER, sample_grid
from ....loom_core.training.watch.metrics_file import METRICS_FILE, History, read_history
from ....loom_core.training.watch.observer import RunAbout, SampleRow, SilentObserver, StepMetrics, ValidationMetrics
from ..progress import NodeProgress, StepClock, as_clock
from .pictures import stacked

if TYPE_CHECKING:
    from PIL.Image import Image

SECONDS_BETWEEN_PICTURES = 2.0
DRAWING_SHARE = 20
"""A picture is drawn at most for one part in so many of the time."""


class NodeWatch(SilentObserver):
    """Shows a run on its node, and knows whether the user has cancelled it.

    Args:
        run: The run's folder, where earlier steps and samples are found.
        progress: Of the node.
        clock: Seconds, rising.
    """

    def __init__(self, run: Path, progress: NodeProgress, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._run, self._progress, self._clock = run, progress, clock
        self._told: list[StepMetrics] = []
        self._measured: list[ValidationMetrics] = []
        self._samples: Image | None = None
        self._first_step = 0
        self._steps: StepClock | None = None
        self._due = -1.0
        self._bad = 0
        self._was_cancelled = False

    def is_cancelled(self) -> bool:
        """Whether the user wants the run to stop; asked by the trainer between steps."""
        self._was_cancelled = self._was_cancelled or bool(model_management.processing_interrupted())
        return self._was_cancelled

    def raise_if_cancelled(self) -> None:
        """Tell the host that the prompt was stopped.

        Raises:
            InterruptProcessingException: The host's own.
        """
        if self.is_cancelled():
            model_management.throw_exception_if_processing_interrupted()  # which takes the wish back
            raise model_management.InterruptProcessingException

    def on_start(self, about: RunAbout) -> None:
        """Take up what earlier parts of the run told."""
        history = read_history(self._run / METRICS_FILE)
        self._told, self._measured = list(history.steps), list(history.validations)
        grids = sorted((self._run / SAMPLES_FOLDER).glob("step-*.png"))
        if grids and self._samples is None:
            self._samples = _opened(grids[-1])
        self._first_step = about.first_step
        self._steps = StepClock(max(1, about.steps - about.first_step))
        self._progress.text(f"training from step {about.first_step} to {about.steps}")

    def on_step(self, metrics: StepMetrics) -> None:
        """Move the bar and renew line and picture."""
        self._told.append(metrics)
        assert self._steps is not None
        left = as_clock(self._steps.remaining_seconds(metrics.step - self._first_step))
        bad = f", {metrics.bad_samples} samples cannot be used" if metrics.bad_samples else ""
        self._progress.text(
            f"step {metrics.step} of {metrics.steps}, loss {metrics.loss:.4f}, {left} left{bad}",
            is_frequent=metrics.step < metrics.steps,
        )
        self._show(metrics.step, metrics.steps)

    def on_validation(self, metrics: ValidationMetrics) -> None:
        """There is more to draw."""
        self._measured.append(metrics)

    def on_samples(self, step: int, rows: Sequence[SampleRow]) -> None:
        """Show the samples at once."""
        if rows:
            self._samples = sample_grid(rows)
            self._due = -1.0
        if self._told:
            self._show(step, self._told[-1].steps)

    def on_checkpoint(self, step: int, path: Path) -> None:  # noqa: ARG002
        """Say so."""
        self._progress.text(f"step {step} is saved")

    def on_bad_samples(self, step: int, samples: Sequence[BadSample]) -> None:  # noqa: ARG002
        """Name the first."""
        self._progress.text(f"left out: {samples[0].key} ({samples[0].reason})")

    def on_note(self, text: str) -> None:
        """Show it."""
        self._progress.text(text)

    def picture(self) -> Image:
        """The curve, with the newest samples below it."""
        history = History(self._run.name, tuple(self._told), tuple(self._measured))
        return stacked(curve_panel(history.name, history), self._samples)

    def _show(self, done: int, total: int) -> None:
        """Move the bar, with a picture where it is time for one. A wish to stop is noted, for the trainer to see."""
        started, picture = self._clock(), None
        if started >= self._due or done == total:
            picture = self.picture()
            took = self._clock() - started
            self._due = started + max(SECONDS_BETWEEN_PICTURES, DRAWING_SHARE * took)
        try:
            self._progress.step(done, total, picture=picture)
        except model_management.InterruptProcessingException:
            self._was_cancelled = True


def _opened(path: Path) -> Image | None:
    """A picture of an earlier part of the run; None where it cannot be read."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except (OSError, UnidentifiedImageError):
        return None
