"""Whether the disk has room for what a run keeps, judged before it begins."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..config.training import TrainingConfig
from ..errors import ConfigError
from ..weights.inspection import format_bytes
from ..weights.layouts import step_folders
from .estimate import cache_needs, training_needs
from .placing import leftovers
from .retention import room_for

_GIGABYTE = 10**9


@dataclass(frozen=True, kw_only=True)
class DiskNeeds:
    """What a run writes from here on beside what lies there, and what is free.

    Args:
        run: Its folder.
        checkpoint: Bytes of one.
        least: Number of them that there has to be room for until the second one from here is whole.
        most: The same until the last one is.
        free: Bytes on the disk of the run's folder; None where the system does not tell.
        cache: Bytes of the latents of all samples, at most about; 0 for no cache.
        cache_free: Bytes on the disk of the cache, likewise.
        cache_reserve: Bytes that the cache leaves free there.
        is_shared: Both are on one disk.
        beside: Bytes that are written once into the run's folder when it begins.
    """

    run: Path
    checkpoint: int
    least: int
    most: int
    free: int | None
    cache: int = 0
    cache_free: int | None = None
    cache_reserve: int = 0
    is_shared: bool = False
    beside: int = 0

    def check(self) -> None:
        """Refuse a run whose first checkpoints find no room.

        Raises:
            ConfigError: What is free is less.
        """
        needed = self._room(self.least)
        if self.free is not None and self.free < needed:
            once = f" and {format_bytes(self.beside)} beside" if self.beside else ""
            raise ConfigError(
                f"{format_bytes(self.free)} free on the disk of the run's folder {self.run}",
                expected=f"{format_bytes(needed)}, for {_counted(self.least)} of "
                f"{format_bytes(self.checkpoint)}{once}: the next one is written before an older one goes",
                fix="free some space, or give another --run",
            )

    def lines(self) -> list[str]:
        """Needs beside what is free, a line for the checkpoints and one for a cache."""
        needed = self._room(self.most)
        once = f" with {format_bytes(self.beside)} that are kept beside" if self.beside else ""
        lines = [
            f"{format_bytes(self.checkpoint)} a checkpoint, room for {self.most} more at once{once}: "
            f"{format_bytes(needed)}{_verdict(self.free, needed, least=self._room(self.least))}"
        ]
        if self.cache:
            line = f"cached latents at most about {format_bytes(self.cache)}{_verdict(self.cache_free, self.cache)}"
            line += f"; it leaves {format_bytes(self.cache_reserve)} free"
            lines.append(line + self._conflict(needed))
        return lines

    def _room(self, checkpoints: int) -> int:
        """Bytes that so many checkpoints take, and what is written once."""
        return checkpoints * self.checkpoint + self.beside

    def _conflict(self, needed: int) -> str:
        """What to do where the cache may take the room of checkpoints that are still to come."""
        is_enough = self.free is None or needed + self.cache <= self.free or needed <= self.cache_reserve
        if is_enough or not self.is_shared:
            return ""
        gigabytes = math.ceil(needed / _GIGABYTE)
        return f", TOO LITTLE for the checkpoints on the same disk: set data.cache_reserve_gb={gigabytes}"


def disk_needs(config: TrainingConfig, *, done: int, lengths: Sequence[int]) -> DiskNeeds:
    """What a run will write.

    Args:
        config: Of the run.
        done: Steps that it has behind it.
        lengths: Samples of each of its sets.
    """
    there, coming = list(step_folders(config.run)), _saved_after(done, config)
    free, disk = _free(config.run)
    cache, (cache_free, cache_disk) = config.data.cache, _free(config.data.cache or config.run)
    if free is not None:  # what a killed process left there is removed at the start
        free += sum(map(_size_of, leftovers(config.run)))
    return DiskNeeds(
        run=config.run,
        checkpoint=training_needs(config).checkpoint,
        least=room_for(there, coming[:2], config.checkpoint),
        most=room_for(there, coming, config.checkpoint),
        free=free,
        cache=cache_needs(config, lengths) if cache is not None else 0,
        cache_free=cache_free,
        cache_reserve=int(config.data.cache_reserve_gb * _GIGABYTE),
        is_shared=disk == cache_disk,
    )


def _saved_after(done: int, config: TrainingConfig) -> list[int]:
    """The steps that are saved from here on, without a stop."""
    every, steps = config.checkpoint.every, config.steps
    return [*range((done // every + 1) * every, steps, every), steps] if done < steps else []


def _free(folder: Path) -> tuple[int | None, int | None]:
    """Bytes free on the disk of a folder, which need not exist yet, and which disk it is; None for what is not told."""
    for place in (folder, *folder.absolute().parents):
        try:
            usage, disk = shutil.disk_usage(place), place.stat().st_dev
        except OSError:
            continue
        return usage.free if usage.total else None, disk
    return None, None


def _size_of(folder: Path) -> int:
    try:
        return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    except OSError:  # another process trains there, and has just finished with it
        return 0


def _verdict(free: int | None, needed: int, *, least: int = 0) -> str:
    if free is None:
        return ""
    fits = "fits" if needed <= free else "DOES NOT FIT" if least > free else "NOT ENOUGH for all"
    return f"; {format_bytes(free)} free: {fits}"


def _counted(checkpoints: int) -> str:
    return "one checkpoint" if checkpoints == 1 else f"{checkpoints} checkpoints"
