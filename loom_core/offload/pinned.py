"""Memory of the processor that a GPU copies from by itself, beside all other work.

torch's own pinned memory is rounded up to a power of two and kept until the process ends; here ordinary memory is
registered with the driver and given free again, as ComfyUI does it.
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

SHARE = 0.8
"""Of the memory that the system has available: pinned memory cannot be swapped out, and others need some, too."""
_MEMINFO = Path("/proc/meminfo")
_PORTABLE = 1  # cudaHostRegisterPortable: for all contexts


class PinnedMemory:
    """Buffers that are pinned until `close`.

    Args:
        device: A CUDA device that copies from them.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._buffers: list[Tensor] = []

    @property
    def num_bytes(self) -> int:
        """Of all buffers."""
        return sum(buffer.nbytes for buffer in self._buffers)

    def new(self, num_bytes: int) -> Tensor | None:
        """A pinned buffer, uint8 [num_bytes]; None where the system gives none."""
        buffer = torch.empty(num_bytes, dtype=torch.uint8)
        if int(torch.cuda.cudart().cudaHostRegister(buffer.data_ptr(), num_bytes, _PORTABLE)):
            _forget_error(self._device)
            return None
        self._buffers.append(buffer)
        return buffer

    def close(self) -> None:
        """Unpin all; no copy from them may be under way."""
        for buffer in self._buffers:
            torch.cuda.cudart().cudaHostUnregister(buffer.data_ptr())
        self._buffers.clear()


def _forget_error(device: torch.device) -> None:
    """Take up the error that the driver keeps for its next caller, who would fail of it."""
    try:
        torch.ones(1, device=device).add_(1)
        torch.cuda.synchronize(device)
    except RuntimeError as error:
        logger.debug("of a refused registration: %s", error)


def available_memory(meminfo: Path = _MEMINFO) -> int | None:
    """Bytes that new work can take without swapping; None where the system does not tell.

    Args:
        meminfo: What Linux says of its memory.
    """
    if not meminfo.is_file():
        return None
    lines = (line.split() for line in meminfo.read_text(encoding="utf-8").splitlines())
    return next((int(line[1]) * 1024 for line in lines if line[0] == "MemAvailable:"), None)


def is_room_for(num_bytes: int, available: int | None) -> bool:
    """Whether so much may be pinned, of what is available; where that is not known, it is tried."""
    return available is None or num_bytes <= SHARE * available
