"""Bytes that a call's elementwise operations, norms and copies read and write, as the dispatcher sees them.

Matrix products and attention are left out, whose traffic depends on the kernel; views and making room move nothing. A
fused operation counts with its real inputs and outputs, so that what it keeps to itself is not counted. A tensor that
is broadcast is read once, at its own size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from .operator_counts import ALLOCATIONS, MATRIX_PRODUCTS, is_view


def _bytes(values: Any) -> int:
    """Of all tensors, none of which counts for more than the memory behind it."""
    tensors = (leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor))
    return sum(min(one.nbytes, one.untyped_storage().nbytes()) for one in tensors)


def _read(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[Any]:
    """All arguments but those that are only written to: `out`, and where a copy goes."""
    for position, argument in enumerate(func._schema.arguments):
        is_written = argument.alias_info is not None and argument.alias_info.is_write
        is_only_written = is_written and (argument.is_out or func._schema.name == "aten::copy_")
        if not is_only_written:
            yield args[position] if position < len(args) else kwargs.get(argument.name)


def _written(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> Any:
    """What was written in place, or else the result."""
    places = [
        args[position] if position < len(args) else kwargs[argument.name]
        for position, argument in enumerate(func._schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    return places or result


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = func._schema.name.removeprefix("aten::")
        if not is_view(func) and name not in (*ALLOCATIONS, *MATRIX_PRODUCTS) and "attention" not in name:
            self.bytes += _bytes(list(_read(func, args, kwargs))) + _bytes(_written(func, args, kwargs, result))
        return result


def pointwise_bytes(function: Callable[[], object]) -> int:
    """Count the bytes of a call, on any device.

    Args:
        function: Runs without gradients.
    """
    with torch.no_grad(), _Counter() as counter:
        function()
    return counter.bytes
