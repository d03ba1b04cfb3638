"""A training run in TensorBoard; needs the optional package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import MissingExtraError
from .grid import sample_grid
from .observer import RunAbout, SampleRow, SilentObserver, StepMetrics, ValidationMetrics


class TensorBoardObserver(SilentObserver):
    """Writes TensorBoard's event files.

    Args:
        folder: For the files; made when it is missing.

    Raises:
        MissingExtraError: The package `tensorboard` is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtraError("tensorboard", "watching a run in TensorBoard") from error
        self._open = SummaryWriter
        self._folder = folder
        self._writer: Any = None
        self._step = 0

    def on_start(self, about: RunAbout) -> None:
        """Begin a file; what older ones say of steps to come is hidden."""
        self.close()
        self._step = about.first_step
        self._writer = self._open(str(self._folder), purge_step=about.first_step + 1)
        settings = "\n".join(f"    {name}: {value}" for name, value in about.settings.items())
        self._write().add_text("run", f"{about.name}\n\n{settings}", about.first_step)

    def on_step(self, metrics: StepMetrics) -> None:
        """Write its scalars."""
        self._step = metrics.step
        scalars = {
            "train/loss": metrics.loss,
            "train/grad_norm": metrics.grad_norm,
            "train/lr": metrics.lr,
            "speed/tokens_per_second": metrics.tokens / max(metrics.seconds, 1e-9),
            "speed/samples_per_second": metrics.samples / max(metrics.seconds, 1e-9),
            "trouble/bad_samples": metrics.bad_samples,
            "trouble/skipped_steps": metrics.skipped_steps,
        } | {f"train_by_task/{task}": loss for task, loss in metrics.loss_by_task.items()}
        self._scalars(scalars, metrics.step)

    def on_validation(self, metrics: ValidationMetrics) -> None:
        """Write the means, and each task in each noise third."""
        of = f"validation_{metrics.weights}"
        scalars = {f"{of}/loss": metrics.loss}
        scalars |= {f"{of}/noise_{noise}": loss for noise, loss in metrics.by_noise().items()}
        scalars |= {f"{of}_by_task/{cell.task}/{cell.noise}": cell.loss for cell in metrics.losses}
        self._scalars(scalars, metrics.step)
        self._write().flush()

    def on_samples(self, step: int, rows: Sequence[SampleRow]) -> None:
        """Write the grid."""
        if rows:
            import numpy as np

            self._write().add_image("samples", np.asarray(sample_grid(rows)), step, dataformats="HWC")

    def on_note(self, text: str) -> None:
        """Write it."""
        self._write().add_text("notes", text, self._step)

    def close(self) -> None:
        """Write what waits, end the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write(self) -> Any:
        if self._writer is None:
            self._writer = self._open(str(self._folder))
        return self._writer

    def _scalars(self, scalars: dict[str, float], step: int) -> None:
        writer = self._write()
        for name, value in scalars.items():
            writer.add_scalar(name, value, step)
