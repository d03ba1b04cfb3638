"""Several linear layers of one input as one matrix product, where their weights lie side by side in memory.

The layers stay as they are: names, files, LoRAs and whoever changes a weight in place see nothing of it. Layers that
are not torch's own, or whose weights were moved or replaced one by one, are called one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .operations import TorchOperations

PLAIN = (nn.Parameter, Tensor)


def lay_side_by_side(layers: Sequence[Any]) -> None:
    """Copy the weights of linear layers of one input into one piece of memory; their values and names stay.

    Args:
        layers: Of any kind; what cannot be called as one is left as it is.
    """
    if not all(map(_is_plain, layers)) or len({(layer.weight.dtype, layer.weight.device) for layer in layers}) > 1:
        return
    for name in ("weight", "bias"):
        old = [getattr(layer, name) for layer in layers]
        together = torch.cat([parameter.detach() for parameter in old])
        for layer, parameter, part in zip(layers, old, together.split([len(one) for one in old]), strict=True):
            setattr(layer, name, nn.Parameter(part, requires_grad=parameter.requires_grad))


def project(x: Tensor, layers: Sequence[Any]) -> Iterator[Tensor]:
    """What each layer makes of x, in turn; one product where that can be.

    Args:
        x: [B, T, D].
        layers: Linear layers, or a host's or an adapter's in their place.
    """
    whole = None if torch.is_grad_enabled() or torch.compiler.is_compiling() else _as_one(layers)
    if whole is None:
        for layer in layers:
            yield layer(x)
    else:
        yield from functional.linear(x, *whole).split([layer.out_features for layer in layers], dim=-1)


def _is_plain(layer: Any) -> bool:
    """Whether calling a layer is a matrix product with its weight and bias, and nothing else."""
    return (
        type(layer) is TorchOperations.Linear
        and not layer._forward_hooks
        and not layer._forward_pre_hooks
        and type(layer.weight) in PLAIN
        and type(layer.bias) in PLAIN
    )


def _as_one(layers: Sequence[Any]) -> tuple[Tensor, Tensor] | None:
    """Weight [sum of rows, D] and bias of all layers, without a copy; None where their memory is not one piece."""
    if not all(map(_is_plain, layers)):
        return None
    weight = _joined([layer.weight for layer in layers])
    bias = _joined([layer.bias for layer in layers])
    return None if weight is None or bias is None else (weight, bias)


def _joined(parts: Sequence[Tensor]) -> Tensor | None:
    first = parts[0]
    for part, follower in pairwise(parts):
        is_next = (
            follower.untyped_storage()._cdata == part.untyped_storage()._cdata
            and follower.storage_offset() == part.storage_offset() + part.numel()
            and follower.dtype == part.dtype
            and part.is_contiguous()
            and follower.is_contiguous()
        )
        if not is_next:
            return None
    rows = sum(len(part) for part in parts)
    return torch.as_strided(first, (rows, *first.shape[1:]), first.stride())
