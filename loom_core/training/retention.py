"""Which checkpoints of a run are kept, and for how many there has to be room."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

from ..config.training import CheckpointSettings
from ..weights.layouts import step_folders


def superseded(steps: Collection[int], settings: CheckpointSettings) -> list[int]:
    """Steps whose checkpoints go: all but the newest and those at multiples of `keep_every`.

    Args:
        steps: That there are checkpoints of.
        settings: The policy.
    """
    ordered = sorted(steps)
    milestone = settings.keep_every
    return [step for step in ordered[: -settings.keep_last] if not (milestone and step % milestone == 0)]


def room_for(there: Sequence[int], coming: Sequence[int], settings: CheckpointSettings) -> int:
    """For how many more than are there now there has to be room: each is whole before an older one goes.

    Args:
        there: Steps that there are checkpoints of.
        coming: Steps that are to be saved, rising, later ones.
        settings: The policy.
    """
    if not coming:
        return 0
    before_the_last = [*there, *coming[:-1]]
    at_the_last = len(before_the_last) - len(superseded(before_the_last, settings)) + 1
    return max(1, at_the_last - len(there))


def prune(run: Path, settings: CheckpointSettings) -> None:
    """Remove a run's superseded checkpoints; one that cannot be removed stays.

    Args:
        run: The run's folder.
        settings: The policy.
    """
    folders = step_folders(run)
    for step in superseded(folders, settings):
        # Renamed first: half a checkpoint must never look like a whole one.
        doomed = folders[step].with_name(f".{folders[step].name}.old")
        try:
            folders[step].rename(doomed)
        except OSError:
            continue
        shutil.rmtree(doomed, ignore_errors=True)
