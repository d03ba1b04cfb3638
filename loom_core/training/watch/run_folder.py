"""Everything by which a run is watched, put together: terminal, metrics file, curve, sample grids, TensorBoard."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from .curve import CURVE_FILE, CurvePicture
from .grid import SAMPLES_FOLDER, SampleGrids
from .metrics_file import METRICS_FILE, MetricsFile
from .observer import Observers, TrainingObserver
from .tensorboard import TensorBoardObserver
from .terminal import TerminalObserver

TENSORBOARD_FOLDER = "tensorboard"
"""Where its files lie in a run's folder."""


def watch_run(
    folder: Path, *, stream: TextIO | None = None, tensorboard: bool = False, log_every: int = 10
) -> Observers:
    """The observers of a run that writes to a folder.

    Args:
        folder: The run's; it exists.
        stream: Shows progress; None for none.
        tensorboard: Also write TensorBoard's files.
        log_every: Steps between two lines where `stream` is no terminal.

    Raises:
        MissingExtraError: TensorBoard is asked for and not installed.
    """
    observers: list[TrainingObserver] = []
    # the file before the curve that is read from it
    observers += [MetricsFile(folder / METRICS_FILE), SampleGrids(folder / SAMPLES_FOLDER)]
    observers.append(CurvePicture(folder / METRICS_FILE, folder / CURVE_FILE))
    if tensorboard:
        observers.append(TensorBoardObserver(folder / TENSORBOARD_FOLDER))
    if stream is not None:
        observers.append(TerminalObserver(stream, log_every=log_every))
    return Observers(*observers)
