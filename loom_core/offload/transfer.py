"""Copies into slots of device memory, ordered against the work that reads them.

A slot is written only after all work that reads what it held, and read only after it was written. On a CUDA device both
are events that the two streams wait for, so that copies run beside computing and the processor waits for neither; on
every other device a copy is done when the call returns, and there is nothing to order.

Source: the two-stream scheme of diffusers' group offloading (`use_stream`) and of ComfyUI's weight casting; with fixed
slots the allocator has no part in it, so `record_stream`, over which both stumbled, is not needed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import torch
from torch import Tensor


class Transfer(Protocol):
    """Fills slots, numbered from 0."""

    def fetch(self, slot: int, copies: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Fill a slot.

        Args:
            slot: Its number.
            copies: Pairs of a part of the slot and what is copied into it.
        """
        ...

    def wait(self, slot: int) -> None:
        """Have everything that is computed from now on see what was fetched into a slot."""
        ...

    def done(self, slot: int) -> None:
        """What was computed until now was the last to read a slot."""
        ...

    def close(self) -> None:
        """Return once no copy is under way."""
        ...


class PlainTransfer:
    """Copies that are done when the call returns."""

    def fetch(self, slot: int, copies: Iterable[tuple[Tensor, Tensor]]) -> None:  # noqa: ARG002
        """See `Transfer`."""
        for target, source in copies:
            target.copy_(source)

    def wait(self, slot: int) -> None:
        """See `Transfer`."""

    def done(self, slot: int) -> None:
        """See `Transfer`."""

    def close(self) -> None:
        """See `Transfer`."""


class CudaTransfer:
    """Copies on a CUDA stream of their own.

    Args:
        device: A CUDA device; the slots were made on its current stream before.
        num_slots: Number of slots.
    """

    def __init__(self, device: torch.device, *, num_slots: int) -> None:
        self._device = device
        self._copying = torch.cuda.Stream(device)
        # the slots' memory may still be read by earlier work of the stream that they were made on
        self._copying.wait_stream(torch.cuda.current_stream(device))
        self._filled = [torch.cuda.Event() for _ in range(num_slots)]
        self._read = [torch.cuda.Event() for _ in range(num_slots)]  # one that was never recorded holds nobody up

    def fetch(self, slot: int, copies: Iterable[tuple[Tensor, Tensor]]) -> None:
        """See `Transfer`."""
        self._copying.wait_event(self._read[slot])
        with torch.cuda.stream(self._copying):
            for target, source in copies:
                target.copy_(source, non_blocking=True)
        self._filled[slot].record(self._copying)

    def wait(self, slot: int) -> None:
        """See `Transfer`."""
        torch.cuda.current_stream(self._device).wait_event(self._filled[slot])

    def done(self, slot: int) -> None:
        """See `Transfer`."""
        self._read[slot].record(torch.cuda.current_stream(self._device))

    def close(self) -> None:
        """See `Transfer`."""
        self._copying.synchronize()
        torch.cuda.current_stream(self._device).synchronize()  # it may still read a slot that is about to be freed


def transfer_to(device: torch.device, *, num_slots: int) -> Transfer:
    """The best way to a device."""
    return CudaTransfer(device, num_slots=num_slots) if device.type == "cuda" else PlainTransfer()
