"""Whether the blocks' elementwise parts run as Triton kernels, and the kernels as operators of torch's dispatcher.

They run on an NVIDIA or AMD GPU where Triton is installed and gives the numbers of plain torch, which is tried once a
process; never where gradients are wanted or torch.compile makes kernels of its own. As operators they are seen by
whoever counts operations, memory or bytes, also on the meta device.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError

logger = logging.getLogger(__name__)

KERNELS = ("auto", "torch", "triton")
"""Triton's where they work; never; always, also in Triton's interpreter or on the meta device."""

_SCHEMAS = {
    "norm_modulate": "(Tensor tokens, Tensor shift, Tensor scale, Tensor? reference_shift, Tensor? reference_scale, "
    "int num_target, float eps) -> Tensor",
    "gated_residual": "(Tensor tokens, Tensor update, Tensor gate, Tensor? reference_gate, int num_target) -> Tensor",
    "norm_rope_": "(Tensor(a!) values, Tensor? weight, Tensor cos, Tensor sin, int num_heads, float eps) -> ()",
}
_LIBRARY = "loomvideo"
_choice: ContextVar[str] = ContextVar("kernels", default=KERNELS[0])


@contextmanager
def chosen_kernels(name: str) -> Iterator[None]:
    """Choose for all that is called inside.

    Args:
        name: A word of `KERNELS`.

    Raises:
        ConfigError: It is none.
    """
    if name not in KERNELS:
        raise ConfigError(f"kernels {name!r}", expected=", ".join(KERNELS), fix="leave it out for the default")
    token = _choice.set(name)
    try:
        yield
    finally:
        _choice.reset(token)


def has_kernels(x: Tensor) -> bool:
    """Whether a tensor's elementwise parts run as Triton kernels."""
    if torch.compiler.is_compiling() or torch.is_grad_enabled():
        return False
    choice = _choice.get()
    return choice == "triton" or (choice == "auto" and x.device.type == "cuda" and _work(x.device, x.dtype))


@cache
def operators() -> Any:
    """The kernels as `torch.ops.loomvideo`; made once a process, whichever copy of this package comes first."""
    operators = getattr(torch.ops, _LIBRARY)
    for name, schema in _SCHEMAS.items():
        if not hasattr(operators, name):
            _library().define(name + schema)
            _library().impl(name, _launcher(name), "CompositeExplicitAutograd")
            _library().impl(name, _in_place if name.endswith("_") else _like_first, "Meta")
    return operators


@cache
def _library() -> torch.library.Library:
    return torch.library.Library(_LIBRARY, "FRAGMENT")


def _launcher(name: str) -> Any:
    def launch(*args: Any) -> Any:
        from . import triton_kernels

        return getattr(triton_kernels, name)(*args)

    return launch


def _like_first(x: Tensor, *_: Any) -> Tensor:
    """On the meta device: room for a result."""
    return torch.empty_like(x)


def _in_place(*_: Any) -> None:
    """On the meta device: the result takes the place of what came in."""


@cache
def _work(device: torch.device, dtype: torch.dtype) -> bool:
    """Try them against plain torch, once a process for each device and dtype."""
    try:
        error = _largest_error(device, dtype)
    except Exception as problem:  # whatever a compiler or a driver raises, plain torch is still there
        logger.warning("Triton kernels are not used on %s: %s", device, str(problem).splitlines()[:1] or problem)
        return False
    most = 1e-5 if dtype == torch.float32 else 2e-2
    if not error <= most:  # a NaN is none of both
        logger.warning("Triton kernels are not used on %s: off by %.2g, expected at most %g", device, error, most)
    return error <= most


def _largest_error(device: torch.device, dtype: torch.dtype) -> float:
    """Of all kernels against their twins, relative to the largest number, on a few tokens of two samples."""
    from .layers import TwoRows, gated_residual, norm_modulate
    from .rope import RopeTable, apply_rope

    width, length, targets, heads = 96, 5, 3, 2  # no power of two
    generator = torch.Generator().manual_seed(0)

    def noise(*size: int) -> Tensor:
        return torch.randn(size, generator=generator).to(device)

    tokens, update, values = (noise(2, length, width).to(dtype) for _ in range(3))
    weight, rope = noise(width).to(dtype), RopeTable(noise(1, length, width // 4), noise(1, length, width // 4))
    shift, scale, gate = (TwoRows(noise(2, 1, width), noise(1, 1, width)) for _ in range(3))

    def run(name: str) -> list[Tensor]:
        with chosen_kernels(name):
            modulated = norm_modulate(tokens, shift, scale, num_target=targets, eps=1e-6)
            gated = gated_residual(tokens, update, gate, num_target=targets)
        if name == "torch":
            normed = torch.nn.functional.rms_norm(values, (width,), weight, 1e-6)
            return [modulated, gated, apply_rope(normed, rope, num_heads=heads)]
        turned = values.clone()
        operators().norm_rope_(turned, weight, rope.cos, rope.sin, heads, 1e-6)
        return [modulated, gated, turned]

    with torch.no_grad():
        pairs = zip(run("triton"), run("torch"), strict=True)
        return max(float((a.float() - b.float()).abs().max() / b.float().abs().max()) for a, b in pairs)
