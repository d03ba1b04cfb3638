"""Which checkpoints of a run are kept."""

from __future__ import annotations

import shutil
from collections.abc import Collection
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


def prune(run: Path, settings: CheckpointSettings) -> list[Path]:
    """Remove a run's superseded checkpoints; one that cannot be removed stays.

    Args:
        run: The run's folder.
        settings: The policy.

    Returns:
        The folders that are gone.
    """
    folders = step_folders(run)
    gone = []
    for step in superseded(folders, settings):
        # Renamed first: half a checkpoint must never look like a whole one.
        doomed = folders[step].with_name(f".{folders[step].name}.old")
        try:
            folders[step].rename(doomed)
        except OSError:
            continue
        shutil.rmtree(doomed, ignore_errors=True)
        gone.append(folders[step])
    return gone
