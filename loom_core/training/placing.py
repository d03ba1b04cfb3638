"""Putting a checkpoint in its place at once, whole; and what a killed process left of that.

One is written beside its place. Where there is one of the same step already, that one steps aside before and is removed
after; a process that is killed between the two leaves it there, and it is put back.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from ..weights.layouts import RUN_FOLDER
from .run_lock import RunLock

_REPLACED = ".replaced"


def partial_of(folder: Path) -> Path:
    """Where a checkpoint is written that is to become this folder."""
    return folder.with_name(f".{folder.name}.partial")


def put_in_place(partial: Path, folder: Path) -> None:
    """Make of a checkpoint that is written whole the one of its folder; it outlives a power cut from here on.

    Raises:
        OSError: The system does not do it.
    """
    _sync_folder(partial)
    if folder.exists():
        folder.rename(folder.with_name(f".{folder.name}{_REPLACED}"))
    partial.rename(folder)
    _sync_folder(folder.parent)


def leftovers(run: Path) -> list[Path]:
    """What a killed process left of checkpoints that it was writing or removing."""
    return sorted((run / RUN_FOLDER).glob(".step-*"))


def remove_leftovers(run: Path) -> None:
    """Remove them."""
    for leftover in leftovers(run):
        shutil.rmtree(leftover, ignore_errors=True)


def restore_replaced(run: Path) -> None:
    """Put a checkpoint back whose process was killed while it replaced it, before the new one was in its place.

    Raises:
        OutputError: There is one, and another process trains in the run's folder.
    """
    replaced = [path for path in leftovers(run) if path.name.endswith(_REPLACED)]
    places = {path: path.with_name(path.name[1 : -len(_REPLACED)]) for path in replaced}
    if all(place.exists() for place in places.values()):
        return
    lock = RunLock(run)
    try:
        for path, place in places.items():
            if path.exists() and not place.exists():
                path.rename(place)
    finally:
        lock.release()


def _sync_folder(folder: Path) -> None:
    """Have the names in a folder outlive a power cut, where the system can do that."""
    with suppress(OSError):  # Windows opens no folders
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
