"""Giving back the memory of mapped files once their data has been used.

A page of a memory-mapped file counts as resident from its first touch. Whoever reads a 10 GB file tensor by tensor and
keeps nothing would still seem to need 10 GB; giving pages back keeps what a streamed conversion needs at one tensor.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor

SMALLEST = 1 << 20
"""Bytes; below it a tensor is not worth the call."""

_MAPPINGS = Path("/proc/self/maps")


class MappedFiles:
    """Gives back pages, and remembers where the files of a checkpoint are mapped: asking takes a millisecond."""

    def __init__(self) -> None:
        self._found: list[tuple[int, int, Tensor]] = []
        """(first address, the address after the last, what keeps the file mapped there)"""

    def release(self, tensor: Tensor) -> None:
        """See `release_pages`."""
        if not sys.platform.startswith("linux") or tensor.device.type != "cpu":
            return
        if tensor.nbytes < SMALLEST or not tensor.is_contiguous():
            return
        # Whole pages inside the tensor only; the neighbours own the rest of the first and last.
        first = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
        end = (tensor.data_ptr() + tensor.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
        # The same call on ordinary memory would wipe it, so the system is asked first what lies there.
        if not any(low <= first and end <= high for low, high, _ in self._found):
            bounds = file_around(_MAPPINGS.read_text(encoding="utf-8", errors="replace").splitlines(), first, end)
            if bounds is None:
                return
            self._found.append((*bounds, tensor))
        _madvise()(first, end - first, mmap.MADV_DONTNEED)


def release_pages(tensor: Tensor) -> None:
    """Let the system take back the memory under a tensor that is a view of a mapped file.

    The tensor stays usable: its next use reads the file again. On tensors in ordinary memory, and where the system has
    no such call, nothing happens.

    Args:
        tensor: As `Checkpoint.tensor` returned it, and in nobody else's hands: were it written to, the changes would
            be lost. Never a tensor that a caller gave.
    """
    MappedFiles().release(tensor)


def file_around(mappings: Iterable[str], first: int, end: int) -> tuple[int, int] | None:
    """Where the mapped file that a range of addresses lies wholly inside begins and ends; None where it does not.

    Args:
        mappings: Lines of the form of `/proc/self/maps`.
        first: First address.
        end: The address after the last.
    """
    for line in mappings:
        fields = line.split(maxsplit=5)
        low, high = (int(bound, 16) for bound in fields[0].split("-"))
        if low <= first < high:
            is_file = len(fields) == 6 and fields[5].startswith("/")  # noqa: PLR2004 - the sixth is a path
            return (low, high) if is_file and end <= high else None
    return None


@cache
def _madvise() -> Any:
    # Python's mmap has this call, but only for mappings that it made; these are torch's and safetensors'.
    function = ctypes.CDLL(None).madvise
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return function
