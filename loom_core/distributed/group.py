"""The processes of a run as a group: how they meet, add up and part, and what is said when one of them is gone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from ..errors import RankError
from .launch import Launch
from .sharding import shard
from .watch import Watch

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

Value = TypeVar("Value")

PATIENCE = timedelta(minutes=60)
"""How long a rank waits for the others' part of a common operation: one may decode a slow clip. Ranks that are gone are
noticed within a minute, see `watch.py`."""


class ProcessRanks:
    """The processes of a run, of which this is one, over torch.distributed.

    Plain numbers and values go over the CPU, whatever the device of the model.

    Args:
        launch: This process among them.
        device: Where its model is.
    """

    def __init__(self, launch: Launch, device: torch.device) -> None:
        self.rank, self.size, self.device = launch.rank, launch.size, device

    def sum(self, values: Tensor) -> Tensor:
        """The element-wise sum over all ranks, on each of them."""
        total = values.detach().to("cpu", copy=True)
        torch.distributed.all_reduce(total)
        return total.to(values.device)

    def gather(self, value: Value) -> list[Value]:
        """The plain values of all ranks in their order, on each of them."""
        values: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(values, value)
        return values

    def shard(self, model: nn.Module) -> None:
        """Spread the weights of a model, the same on all ranks, over them; see `sharding.shard`."""
        shard(model, self.mesh())

    def mesh(self) -> DeviceMesh:
        """All ranks in one row, with their models' devices."""
        from torch.distributed.device_mesh import init_device_mesh

        return init_device_mesh(self.device.type, (self.size,))

    def in_turn(self, make: Callable[[], Value]) -> Value:
        """What a function gives, called by the first rank before the others: it may write what those read."""
        if self.rank != 0:
            self.gather(None)
        made = make()
        if self.rank == 0:
            self.gather(None)
        return made


@contextmanager
def joined(launch: Launch, device: torch.device) -> Iterator[ProcessRanks]:
    """Within, the processes of a run are a group; each notices within a minute when another one is gone.

    Args:
        launch: From `find_launch`, of more than one process.
        device: Of this process's model; a GPU talks to the others over NCCL, a CPU over gloo.

    Raises:
        RankError: The others cannot be reached, or one of them ended.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        torch.distributed.init_process_group(
            backend, rank=launch.rank, world_size=launch.size, timeout=PATIENCE, init_method="env://"
        )
    except (RuntimeError, ValueError) as error:
        raise RankError(
            f"a run of {launch.size} processes that cannot meet at {meeting_place()} ({_first_line(error)})",
            expected="all of them to reach that address",
            fix="start all with the same torchrun command; check address, port and the network between machines",
        ) from error
    ranks = ProcessRanks(launch, device)
    watch = Watch(_second_store(), rank=launch.rank, size=launch.size)
    ranks.gather(None)  # everybody can be watched from here on
    watch.start()
    try:
        yield ranks
    except BaseException as error:
        lost = watch.lost_within() if is_of_group(error) else None
        watch.close(last_words=lost or str(error) or type(error).__name__)
        if device.type == "cpu":
            # A thread of gloo that lets go of its last tensors while the interpreter ends aborts it. Not on a GPU,
            # where this could wait for kernels that ranks which are gone never answer.
            torch.distributed.destroy_process_group()
        if lost is None:
            raise
        raise RankError(lost, expected="all ranks to go on", fix=_AGAIN) from error
    watch.close()
    torch.distributed.destroy_process_group()


_AGAIN = "look at what that rank said last, and give the same command again; training goes on from its last checkpoint"


_OF_TRANSPORT = ("gloo/transport", "Connection closed by peer", "Connection reset by peer", "NCCL")
"""Words of plain errors that come from the connections, not from how they were used."""


def meeting_place() -> str:
    """Where torchrun has the processes meet."""
    return f"{os.environ.get('MASTER_ADDR', '?')}:{os.environ.get('MASTER_PORT', '?')}"


def is_of_group(error: BaseException) -> bool:
    """Whether an error is torch's word that other processes did not answer."""
    if isinstance(error, torch.distributed.DistError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _OF_TRANSPORT)


def _second_store() -> Any:
    """A connection of its own to the store where the processes met: the group's may be busy waiting for a key."""
    store = torch.distributed.TCPStore(
        os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False, timeout=timedelta(seconds=20)
    )
    return torch.distributed.PrefixStore(f"loom/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
