"""A row of blocks, some of which come to the device only for their turn.

Two slots on the device, each as large as the largest of those blocks: one holds the block that computes, into the other
the next one is copied meanwhile. Iterating over the row is what brings a block: its weights are on the device until the
next one is asked for, and in the processor's memory (pinned, or the mapped file itself) at all other times. After the
last block the first is fetched for the next pass.

Why not a library: diffusers' group offloading comes with all of diffusers and hooks into calls of modules, while a
block's keys and values are made outside of one; accelerate's hooks fetch nothing ahead; mmgp takes over pipelines.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .pinned import PinnedMemory, available_memory, is_room_for
from .transfer import Transfer, transfer_to

logger = logging.getLogger(__name__)

NUM_SLOTS = 2
_ALIGNMENT = 256  # bytes, as torch's CUDA allocator gives it: kernels choose their way by it


def tensors_of(block: nn.Module) -> list[Tensor]:
    """Parameters and buffers, each once."""
    return [*block.parameters(), *block.buffers()]


def slot_bytes(tensors: Iterable[Tensor]) -> int:
    """What the weights of a block take, one behind the other."""
    return sum(_aligned(tensor.nbytes) for tensor in tensors)


def _aligned(num_bytes: int) -> int:
    return -(-num_bytes // _ALIGNMENT) * _ALIGNMENT


def _views(buffer: Tensor, tensors: Iterable[Tensor]) -> Iterator[Tensor]:
    """Parts of a buffer of bytes, shaped as tensors are."""
    start = 0
    for tensor in tensors:
        yield buffer[start : start + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
        start += _aligned(tensor.nbytes)


@dataclass(frozen=True)
class _Turn:
    """A block whose weights are on the device.

    Args:
        index: Of the block.
        slot: Where they are.
        homes: What its parameters were before.
    """

    index: int
    slot: int
    homes: tuple[Tensor, ...]


class StreamedBlocks(nn.ModuleList):
    """See the module's docstring; iterate over it once a forward pass.

    Args:
        blocks: The row, all on the CPU but for those that stay on the device.
        device: Where they compute.
        streamed: Numbers of those that come only for their turn.
        pin: Keep their weights in pinned memory, a copy of what they were loaded from; on a CUDA device alone.
        transfer: Copies them; None takes the best way to the device.
    """

    def __init__(
        self,
        blocks: Iterable[nn.Module],
        *,
        device: torch.device,
        streamed: Collection[int],
        pin: bool = False,
        transfer: Transfer | None = None,
    ) -> None:
        super().__init__(blocks)
        self._streamed = sorted(streamed)
        self._pinned = PinnedMemory(device) if pin and device.type == "cuda" else None
        if self._pinned is not None:
            self._pin(self._pinned)
        size = max((slot_bytes(tensors_of(self[index])) for index in self._streamed), default=0)
        self._slots = [torch.empty(size, dtype=torch.uint8, device=device) for _ in range(NUM_SLOTS)]
        self._holds: list[int | None] = [None] * NUM_SLOTS
        self._transfer = transfer or transfer_to(device, num_slots=NUM_SLOTS)
        self._turn: _Turn | None = None
        self._last = NUM_SLOTS - 1  # the slot whose turn it is, or was last
        self.bytes_moved = 0
        """To the device until now."""

    __repr__ = nn.Module.__repr__  # a list's own iterates

    def __getitem__(self, index: int | slice) -> nn.Module:  # type: ignore[override]
        """A block, or a plain list of some."""
        blocks = list(self._modules.values())[index]
        return nn.ModuleList(blocks) if isinstance(blocks, list) else blocks  # type: ignore[arg-type,return-value]

    def __iter__(self) -> Iterator[nn.Module]:
        """Each block in its turn."""
        self._end_turn()  # of a pass that was left early
        following = dict(zip(self._streamed, self._streamed[1:] + self._streamed[:1], strict=True))
        for index in range(len(self)):
            block = self[index]
            if index not in following or not self._slots:
                yield block
                continue
            turn = self._begin_turn(index, block)
            try:
                yield block
            finally:
                if self._turn is turn:
                    self._end_turn()
            self._fetch(following[index])  # after the block's own work was handed to the device

    def close(self) -> None:
        """Give the slots and the pinned memory free; the weights are where they were loaded."""
        self._end_turn()
        self._transfer.close()
        self._slots.clear()
        if self._pinned is not None:
            self._pinned.close()

    def _begin_turn(self, index: int, block: nn.Module) -> _Turn:
        slot = self._fetch(index)
        self._transfer.wait(slot)
        tensors = tensors_of(block)
        turn = _Turn(index, slot, tuple(tensor.data for tensor in tensors))
        self._turn, self._last = turn, slot
        for tensor, view in zip(tensors, list(_views(self._slots[slot], turn.homes)), strict=True):
            tensor.data = view
        return turn

    def _end_turn(self) -> None:
        if self._turn is None:
            return
        turn, self._turn = self._turn, None
        for tensor, home in zip(tensors_of(self[turn.index]), turn.homes, strict=True):
            tensor.data = home
        self._transfer.done(turn.slot)

    def _fetch(self, index: int) -> int:
        """The slot of a block, which is copied there if it is not there yet."""
        if index in self._holds:
            return self._holds.index(index)
        slot = NUM_SLOTS - 1 - self._last
        homes = tensors_of(self[index])
        self._holds[slot] = None  # nothing, should the copy fail
        self._transfer.fetch(slot, zip(_views(self._slots[slot], homes), (home.data for home in homes), strict=True))
        self._holds[slot] = index
        self.bytes_moved += sum(home.nbytes for home in homes)
        return slot

    def _pin(self, pinned: PinnedMemory) -> None:
        """Move the streamed blocks' weights to pinned memory, as far as the system has it."""
        needed = sum(slot_bytes(tensors_of(self[index])) for index in self._streamed)
        if not is_room_for(needed, available_memory()):
            logger.warning(
                "too little memory to pin %.1f GB of weights; copies to the GPU will be slower", needed / 1e9
            )
            return
        for index in self._streamed:
            tensors = tensors_of(self[index])
            buffer = pinned.new(slot_bytes(tensors))
            if buffer is None:
                logger.warning("the system pins no more than %.1f GB; other copies are slower", pinned.num_bytes / 1e9)
                return
            for tensor, view in zip(tensors, list(_views(buffer, tensors)), strict=True):
                view.copy_(tensor.data)
                tensor.data = view


def spread_evenly(count: int, total: int) -> list[int]:
    """Which of `total` blocks are streamed when `count` are: evenly spread, so that each copy has most time."""
    return [index for index in range(total) if (index + 1) * count // total > index * count // total]


@contextmanager
def streamed(
    model: nn.Module,
    name: str,
    *,
    device: torch.device,
    count: int,
    pin: bool = False,
    staying: Collection[Tensor] = (),
) -> Iterator[StreamedBlocks]:
    """Within, a model's row of blocks is streamed to a device, where everything else of the model lies.

    Args:
        model: On the CPU.
        name: Of its row, such as "blocks".
        device: Where it computes.
        count: Blocks that are streamed.
        pin: See `StreamedBlocks`.
        staying: Weights that stay on the CPU.
    """
    parent, _, own = name.rpartition(".")
    owner = model.get_submodule(parent)
    row = model.get_submodule(name)
    assert isinstance(row, nn.ModuleList)
    numbers = spread_evenly(min(count, len(row)), len(row))
    kept = {id(tensor) for number in numbers for tensor in tensors_of(row[number])} | {id(tensor) for tensor in staying}
    for tensor in tensors_of(model):
        if id(tensor) not in kept:
            tensor.data = tensor.data.to(device)
    blocks = StreamedBlocks(row, device=device, streamed=numbers, pin=pin)
    setattr(owner, own, blocks)
    try:
        yield blocks
    finally:
        setattr(owner, own, row)
        blocks.close()
