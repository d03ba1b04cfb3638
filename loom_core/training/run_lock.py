"""One process to a run's folder: two would write and remove each other's checkpoints."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TextIO

from ..errors import OutputError

try:
    import fcntl
except ImportError:  # Windows, where nothing is locked
    fcntl = None  # type: ignore[assignment]

LOCK_FILE = "training.lock"
_TAKEN = frozenset({errno.EACCES, errno.EAGAIN})


class RunLock:
    """Held by the process that trains in a folder, until it lets go or ends, however it does.

    It belongs to the process alone: those that decode for it do not hold it, so that a run that was killed can be
    taken up at once. Where the file system knows no locks there is none.

    Args:
        run: The run's folder; it exists.

    Raises:
        OutputError: Another process trains there.
    """

    def __init__(self, run: Path) -> None:
        self._file: TextIO | None = None
        if fcntl is None:
            return
        file = (run / LOCK_FILE).open("a+", encoding="utf-8")
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read().strip()
            file.close()
            if error.errno not in _TAKEN:
                return
            raise OutputError(
                f"the run's folder {run}, in which another process trains" + (f" ({holder})" if holder else ""),
                expected="one process to a run",
                fix="stop it first, or give another --run",
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        self._file = file

    def release(self) -> None:
        """Let others train there."""
        if self._file is not None:
            self._file.close()
            self._file = None
