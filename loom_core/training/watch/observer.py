"""What a training run tells, and who listens: the metrics, the protocol of an observer, several observers as one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from torch import Tensor

from ...data.problems import BadSample
from ...errors import CancelledError

logger = logging.getLogger(__name__)

NOISE_THIRDS = ("low", "mid", "high")
"""Names of the thirds of the noise levels that validation losses are told by, from little noise to much."""


@dataclass(frozen=True, kw_only=True)
class RunAbout:
    """What is known when a run starts or resumes.

    Args:
        name: Of the run, such as "stage1".
        folder: Where the run writes.
        steps: Optimiser steps when it is done.
        first_step: Steps already done; 0 for a new run.
        settings: What else is worth showing, name -> value, in order.
    """

    name: str
    folder: Path
    steps: int
    first_step: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StepMetrics:
    """One optimiser step, over all ranks.

    Args:
        step: From 1.
        steps: Optimiser steps when the run is done.
        loss: Summed squared error / elements of the step.
        grad_norm: Before clipping.
        lr: Learning rate of the step.
        tokens: Target and reference tokens that went through the DiT.
        samples: Samples of the step.
        seconds: Duration of the step, waiting for data included.
        bad_samples: Different samples left out since the run began.
        skipped_steps: Steps without an update (loss or gradient not finite) since the run began.
        loss_by_task: Task -> loss over its samples of the step.
        measures: What else a kind of run is watched by; where "reward" is among them, that is what its curve shows.
    """

    step: int
    steps: int
    loss: float
    grad_norm: float
    lr: float
    tokens: int
    samples: int
    seconds: float
    bad_samples: int = 0
    skipped_steps: int = 0
    loss_by_task: Mapping[str, float] = field(default_factory=dict)
    measures: Mapping[str, float] = field(default_factory=dict)

    @property
    def headline(self) -> tuple[str, float]:
        """What the step is judged by: its reward, or its loss; name and value."""
        return ("reward", self.measures["reward"]) if "reward" in self.measures else ("loss", self.loss)


@dataclass(frozen=True, kw_only=True)
class ValidationLoss:
    """Loss of one task in one third of the noise levels.

    Args:
        task: Name of the task.
        noise: One of `NOISE_THIRDS`.
        loss: Mean over `count`.
        count: Samples x noise levels behind it.
    """

    task: str
    noise: str
    loss: float
    count: int


@dataclass(frozen=True, kw_only=True)
class ValidationMetrics:
    """Losses of held-out samples with fixed noise, after a step.

    Args:
        step: Steps done.
        losses: One for each task and noise third that there are samples of.
        weights: Which weights were measured: "model" or "ema".
        seconds: Duration.
    """

    step: int
    losses: tuple[ValidationLoss, ...]
    weights: str = "model"
    seconds: float = 0.0

    @property
    def loss(self) -> float:
        """Mean over everything measured; nan without samples."""
        return _mean(self.losses)

    def by_noise(self) -> dict[str, float]:
        """Noise third -> mean over the tasks, each by its count."""
        return self._grouped(lambda cell: cell.noise)

    def by_task(self) -> dict[str, float]:
        """Task -> mean over the noise thirds, each by its count."""
        return self._grouped(lambda cell: cell.task)

    def _grouped(self, name: Callable[[ValidationLoss], str]) -> dict[str, float]:
        names = dict.fromkeys(name(cell) for cell in self.losses)
        return {each: _mean([cell for cell in self.losses if name(cell) == each]) for each in names}


def _mean(cells: Sequence[ValidationLoss]) -> float:
    count = sum(cell.count for cell in cells)
    return sum(cell.loss * cell.count for cell in cells) / count if count else float("nan")


@dataclass(frozen=True, kw_only=True)
class SampleRow:
    """One generated sample beside what it was made from.

    Args:
        caption: Task and instruction, shown under the pictures.
        result: uint8 [F, height, width, 3], RGB; F is 1 of an image.
        source: The same kind of pictures, of any size and length, or None.
        references: One entry a reference.
        truth: What the result should look like, or None.
    """

    caption: str
    result: Tensor
    source: Tensor | None = None
    references: tuple[Tensor, ...] = ()
    truth: Tensor | None = None


class TrainingObserver(Protocol):
    """Listens to a training run; called on rank 0 alone, in the training's own thread."""

    def on_start(self, about: RunAbout) -> None:
        """The run starts or resumes."""
        ...

    def on_step(self, metrics: StepMetrics) -> None:
        """An optimiser step is done."""
        ...

    def on_validation(self, metrics: ValidationMetrics) -> None:
        """Held-out samples were measured."""
        ...

    def on_samples(self, step: int, rows: Sequence[SampleRow]) -> None:
        """Samples were generated."""
        ...

    def on_checkpoint(self, step: int, path: Path) -> None:
        """A checkpoint was written."""
        ...

    def on_bad_samples(self, step: int, samples: Sequence[BadSample]) -> None:
        """On the way to a step, samples were met that cannot be used; each is told once in a run."""
        ...

    def on_note(self, text: str) -> None:
        """Something happened that a person should read, in one line."""
        ...

    def close(self) -> None:
        """The run ended, well or not."""
        ...


class SilentObserver:
    """Listens and does nothing; the base of observers that care about a few events only."""

    def on_start(self, about: RunAbout) -> None:
        """Nothing."""

    def on_step(self, metrics: StepMetrics) -> None:
        """Nothing."""

    def on_validation(self, metrics: ValidationMetrics) -> None:
        """Nothing."""

    def on_samples(self, step: int, rows: Sequence[SampleRow]) -> None:
        """Nothing."""

    def on_checkpoint(self, step: int, path: Path) -> None:
        """Nothing."""

    def on_bad_samples(self, step: int, samples: Sequence[BadSample]) -> None:
        """Nothing."""

    def on_note(self, text: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Observers:
    """Several observers as one, none of which can end the training.

    One that fails (disk full, broken pipe, a mistake of its own) is closed and told nothing more; the others get one
    note about it, the log a warning. Only a `CancelledError` passes: there a person stops the run.

    Args:
        observers: Told in this order.
    """

    def __init__(self, *observers: TrainingObserver) -> None:
        self._active = list(observers)

    def on_start(self, about: RunAbout) -> None:
        """Tell all."""
        self._tell(lambda observer: observer.on_start(about))

    def on_step(self, metrics: StepMetrics) -> None:
        """Tell all."""
        self._tell(lambda observer: observer.on_step(metrics))

    def on_validation(self, metrics: ValidationMetrics) -> None:
        """Tell all."""
        self._tell(lambda observer: observer.on_validation(metrics))

    def on_samples(self, step: int, rows: Sequence[SampleRow]) -> None:
        """Tell all."""
        self._tell(lambda observer: observer.on_samples(step, rows))

    def on_checkpoint(self, step: int, path: Path) -> None:
        """Tell all."""
        self._tell(lambda observer: observer.on_checkpoint(step, path))

    def on_bad_samples(self, step: int, samples: Sequence[BadSample]) -> None:
        """Tell all."""
        self._tell(lambda observer: observer.on_bad_samples(step, samples))

    def on_note(self, text: str) -> None:
        """Tell all."""
        self._tell(lambda observer: observer.on_note(text))

    def close(self) -> None:
        """Close all."""
        self._tell(lambda observer: observer.close())

    def _tell(self, event: Callable[[TrainingObserver], None]) -> None:
        for observer in tuple(self._active):
            try:
                event(observer)
            except CancelledError:
                raise
            except Exception as error:  # whatever it is, hours of training are worth more than being watched
                self._switch_off(observer, error)

    def _switch_off(self, observer: TrainingObserver, error: Exception) -> None:
        if observer not in self._active:  # failed again while the others were told
            return
        self._active.remove(observer)
        text = f"{type(observer).__name__} is switched off, the training goes on: {type(error).__name__}: {error}"
        logger.warning(text, exc_info=error)
        try:
            observer.close()
        except Exception:
            logger.debug("%s could not be closed either", type(observer).__name__, exc_info=True)
        self.on_note(text)
