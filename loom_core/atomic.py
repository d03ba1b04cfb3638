"""Writing a file so that it is either whole or not there."""

from __future__ import annotations

import errno
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import OutputError, ResourceError

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Numbers of the system's errors that mean that there is no room for a file."""


@contextmanager
def atomic_target(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to, and move it there when the block ends well.

    Whatever ends the block early, an interrupt included, the temporary file is removed and an older file at `path`
    stays as it was.

    Raises:
        OutputError: The folder is missing or not writable, or `path` is a folder.
        ResourceError: The disk is full.
    """
    with _temporary_beside(path) as temporary:
        yield temporary
        temporary.replace(path)


def make_folder(folder: Path, *, what: str, fix: str) -> None:
    """Make a folder and those above it, unless it is there.

    Args:
        folder: The path.
        what: What it is, for the message: "the cache folder".
        fix: What to do when it cannot be made.

    Raises:
        OutputError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{what} {folder}, which cannot be created ({error.strerror})", expected="a writable place", fix=fix
        ) from error


def check_writable(path: Path) -> None:
    """Refuse a target that cannot be written, before minutes of work are spent on what goes there.

    Raises:
        OutputError: The folder is missing or not writable, or `path` is a folder.
        ResourceError: The disk is full.
    """
    with _temporary_beside(path) as temporary:
        temporary.write_bytes(b"\0")


@contextmanager
def _temporary_beside(path: Path) -> Iterator[Path]:
    if path.is_dir():
        raise OutputError(f"the folder {path}", expected="a file to write", fix="add a file name")
    if not path.parent.is_dir():
        raise OutputError(
            f"no folder {path.parent}",
            expected=f"it to exist, to write {path.name}",
            fix="create it or change the path",
        )
    # A fixed short name: the target's own may already be as long as the file system allows.
    temporary = path.parent / f".loomvideo-{uuid.uuid4().hex[:12]}.partial"
    try:
        yield temporary
    except OSError as error:  # PyAV's errors of the operating system are OSErrors as well
        raise explained(error, path) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def explained(error: OSError, path: Path) -> OutputError | ResourceError:
    """What the system's error about writing to `path` means to a user."""
    if error.errno in DISK_FULL:
        return ResourceError(
            f"no space left while writing {path}",
            expected="room for the file",
            fix="free some space or write elsewhere",
        )
    reason = error.strerror or str(error)
    return OutputError(
        f"{path}, which cannot be written ({reason})", expected="a writable place", fix="change the path"
    )
