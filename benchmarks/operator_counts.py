"""How many operations a call asks torch for, and how many of those are matrix products."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

MATRIX_PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "convolution")
"""Names of the operations that are, or run as, one matrix product."""
ALLOCATIONS = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided")
"""Names of the operations that only make room."""


@dataclass(frozen=True)
class OperatorCounts:
    """Operations of one call.

    Args:
        kernels: All that compute or copy; a view is no kernel, nor is making room.
        matrix_products: Those of `MATRIX_PRODUCTS`.
    """

    kernels: int
    matrix_products: int


def is_view(operator: Any) -> bool:
    """Whether an operation only looks at its input in another way."""
    returns = operator._schema.returns
    aliases = [value.alias_info for value in returns if value.alias_info is not None]
    return operator._schema.name == "aten::_unsafe_view" or any(not alias.is_write for alias in aliases)


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.kernels = 0
        self.matrix_products = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = func._schema.name.removeprefix("aten::")
        self.kernels += not is_view(func) and name not in ALLOCATIONS
        self.matrix_products += name in MATRIX_PRODUCTS
        return func(*args, **(kwargs or {}))


def count_operators(function: Callable[[], object]) -> OperatorCounts:
    """Count the operations of a call, eager, as the dispatcher sees them.

    Args:
        function: Runs without gradients.
    """
    with torch.no_grad(), _Counter() as counter:
        function()
    return OperatorCounts(counter.kernels, counter.matrix_products)
