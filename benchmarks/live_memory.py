"""Peak memory of the tensors that live during a call, on any device, the meta device included.

Every tensor that torch's dispatcher hands out is followed until its storage dies. Scratch memory inside a kernel and
the allocator's own losses are not seen; what existed before the call does not count.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, UntypedStorage
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def _storages(values: Any) -> Iterator[UntypedStorage]:
    return (leaf.untyped_storage() for leaf in tree_leaves(values) if isinstance(leaf, Tensor))


class LiveMemory(TorchDispatchMode):
    """Follows storages that are made while it is open; `peak` is the most bytes alive at once."""

    def __init__(self) -> None:
        super().__init__()
        self.live = 0
        self.peak = 0
        self._known: dict[int, weakref.finalize] = {}

    def _follow(self, storage: UntypedStorage, num_bytes: int) -> None:
        key = id(storage)  # unique while the storage lives; the finalizer removes it when it dies
        if key in self._known:
            return

        def forget() -> None:
            del self._known[key]
            self.live -= num_bytes

        self._known[key] = weakref.finalize(storage, forget)
        self.live += num_bytes
        self.peak = max(self.peak, self.live)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run the operation; what it reads for the first time was there before, what it returns is new."""
        for storage in _storages((args, kwargs)):
            self._follow(storage, 0)
        result = func(*args, **(kwargs or {}))
        for storage in _storages(result):
            self._follow(storage, storage.nbytes())
        return result


def peak_live_bytes(function: Callable[[], object]) -> int:
    """Most bytes of new tensors alive at once during a call, its result included.

    Args:
        function: Runs without gradients.
    """
    with torch.no_grad(), LiveMemory() as memory:
        function()
    return memory.peak
