"""How many processes train together, and how they add numbers up: the hook for distributed training."""

from __future__ import annotations

from typing import Protocol, TypeVar

from torch import Tensor

Value = TypeVar("Value")


class Ranks(Protocol):
    """The processes of a run, of which this is one.

    Gradients are averaged over them by whatever wraps the model (DDP, FSDP); the trainer multiplies its loss by `size`
    for that.
    """

    rank: int
    size: int

    def sum(self, values: Tensor) -> Tensor:
        """The element-wise sum over all ranks, on each of them."""
        ...

    def gather(self, value: Value) -> list[Value]:
        """The plain values of all ranks in their order, on each of them."""
        ...


class OneRank:
    """A single process."""

    rank = 0
    size = 1

    def sum(self, values: Tensor) -> Tensor:
        """The values themselves."""
        return values

    def gather(self, value: Value) -> list[Value]:
        """The value alone."""
        return [value]
