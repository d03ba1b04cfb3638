"""Bytes that the elementwise work of a call reads and writes: what it costs where memory, not arithmetic, is the bound.

Counted are all operations but matrix products, convolutions, attention, views and memory that is only asked for: each
reads the tensors that it is given and writes those that it returns. A tensor that is broadcast is read once, at its own
size. Operations are those that torch is asked for, one after another: none is fused with the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from .operator_counts import MATRIX_PRODUCTS, is_view


def _bytes(values: Any) -> int:
    """Of all tensors, none of which counts for more than the memory behind it."""
    tensors = (leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor))
    return sum(min(one.nbytes, one.untyped_storage().nbytes()) for one in tensors)


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func._schema.name.removeprefix("aten::")
        is_other_work = name in MATRIX_PRODUCTS or "attention" in name or "empty" in name
        if not is_other_work and not is_view(func):
            self.bytes += _bytes((args, kwargs)) + _bytes(result)
        return result


def pointwise_bytes(function: Callable[[], object]) -> int:
    """Bytes read and written by the elementwise operations of a call.

    Args:
        function: Runs without gradients, on any device.
    """
    with torch.no_grad(), _Counter() as counter:
        function()
    return counter.bytes
