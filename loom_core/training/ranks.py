"""How many processes train together, and what they do together: the hook for distributed training."""

from __future__ import annotations

from typing import Protocol, TypeVar

from torch import Tensor, nn

Value = TypeVar("Value")


class Ranks(Protocol):
    """The processes of a run, of which this is one.

    Gradients are averaged over them by what spreads the model (FSDP); the trainer multiplies its loss by `size` for
    that. What one of them calls, all of them call, in the same order.
    """

    rank: int
    size: int

    def sum(self, values: Tensor) -> Tensor:
        """The element-wise sum over all ranks, on each of them."""
        ...

    def gather(self, value: Value) -> list[Value]:
        """The plain values of all ranks in their order, on each of them."""
        ...

    def shard(self, model: nn.Module) -> None:
        """Spread the weights of a model, the same on all ranks, over them."""
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

    def shard(self, model: nn.Module) -> None:
        """Nothing: all of it is here."""
