"""Giving a model on the meta device its weights, without a second copy of them in memory.

What keeps dtype and device stays a view of the memory-mapped file; the rest is copied tensor by tensor. Pages that were
read, to check or to copy them, are given back at once; a view reads them again when it is used. Quantised matrices of
linear layers stay quantised; any other quantised weight is widened here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from ..models.quantised import QuantisedLinear, widen
from .checkpoint import Checkpoint
from .checks import compare_keys, require_finite, require_keys
from .memory import MappedFiles

_WEIGHT, _SCALE = ".weight", ".weight_scale"


def read_weights(
    checkpoint: Checkpoint,
    sources: Mapping[str, str],
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    check_finite: bool = True,
    keep: Collection[str] = (),
) -> dict[str, Tensor]:
    """Read weights, each in its final place.

    Args:
        checkpoint: The file.
        sources: Name in the model -> name in the file.
        dtype: Of all floating-point weights; None keeps each one's own.
        device: Where they go.
        check_finite: Refuse NaN and infinity; reads all weights once.
        keep: Names in the model of weights that stay quantised (see `quantise_layers`).

    Returns:
        Name in the model -> weight, and of those that stay quantised their scales; do not write to them.

    Raises:
        WeightsError: A weight is not finite, perhaps only after the cast.
    """
    weights: dict[str, Tensor] = {}
    files = MappedFiles()
    for name, source in sources.items():
        stored = checkpoint.tensor(source)
        if name in keep:
            weights |= _kept(checkpoint, name, source, stored, device=device, check_finite=check_finite)
        else:
            plain = widened(checkpoint, source, dtype=dtype) if source in checkpoint.packings else stored
            # This is the stored tensor itself, not a copy, where neither device nor dtype changes.
            weights[name] = plain.to(device=device, dtype=dtype if plain.is_floating_point() else None)
            if check_finite:
                require_finite(weights[name], source, checkpoint.path, cast_from=stored.dtype)
        files.release(stored)
    return weights


def widened(checkpoint: Checkpoint, source: str, *, dtype: torch.dtype | None = None) -> Tensor:
    """A quantised weight as the numbers that it stands for.

    Args:
        checkpoint: The file.
        source: Name of the weight in it.
        dtype: Of the result; None is float32.
    """
    packing = checkpoint.packings[source]
    shape = checkpoint.infos[source].shape
    scale = _scale(checkpoint, source)
    return widen(checkpoint.tensor(source), packing.form, shape=shape, dtype=dtype or torch.float32, scale=scale)


def _scale(checkpoint: Checkpoint, source: str) -> Tensor | None:
    name = checkpoint.packings[source].scale
    return None if name is None else checkpoint.load(name).float().reshape(-1, 1)


def _kept(
    checkpoint: Checkpoint,
    name: str,
    source: str,
    stored: Tensor,
    *,
    device: torch.device | str,
    check_finite: bool,
) -> dict[str, Tensor]:
    """A weight that stays quantised, and its scales."""
    scale = _scale(checkpoint, source)
    if check_finite:
        # of a type with scales among its data only the numbers themselves show whether they are finite
        seen = widened(checkpoint, source) if scale is None else stored
        require_finite(seen, source, checkpoint.path)
        if scale is not None:
            require_finite(scale, str(checkpoint.packings[source].scale), checkpoint.path)
    kept = {name: stored.to(device)}
    return kept if scale is None else {**kept, name.removesuffix(_WEIGHT) + _SCALE: scale.to(device)}


def quantise_layers(model: nn.Module, checkpoint: Checkpoint, sources: Mapping[str, str]) -> set[str]:
    """Put layers that widen their matrix at each use in the place of those whose matrix a file has quantised.

    Args:
        model: On the meta device.
        checkpoint: The file.
        sources: Name in the model -> name in the file.

    Returns:
        Names in the model of the weights that stay quantised.
    """
    kept = set()
    for name, source in sources.items():
        if source not in checkpoint.packings or not name.endswith(_WEIGHT):
            continue
        layer_name = name.removesuffix(_WEIGHT)
        layer = model.get_submodule(layer_name)
        if not isinstance(layer, nn.Linear):
            continue
        stored, scale = checkpoint.tensor(source), _scale(checkpoint, source)
        quantised = QuantisedLinear(
            checkpoint.packings[source].form,
            layer.in_features,
            layer.out_features,
            stored=(tuple(stored.shape), stored.dtype),
            num_scales=0 if scale is None else len(scale),
            bias=layer.bias,
        )
        parent, _, leaf = layer_name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, quantised)
        kept.add(name)
    return kept


def fill_model(
    model: nn.Module,
    checkpoint: Checkpoint,
    sources: Mapping[str, str],
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    fix: str,
) -> None:
    """Check that a file has exactly a model's weights, and give them to it.

    Args:
        model: Its parameters, best on the meta device, are replaced.
        checkpoint: The file.
        sources: Name in the model -> name in the file, of all that the file means for this model.
        dtype: See `read_weights`.
        device: See `read_weights`.
        fix: What to do about a file that does not fit.

    Raises:
        WeightsError: A weight is missing, unexpected, mis-shaped or not finite; every one is named.
    """
    found = {name: checkpoint.shapes[source] for name, source in sources.items()}
    expected = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    require_keys(compare_keys(found, expected), checkpoint.path, fix=fix)
    keep = quantise_layers(model, checkpoint, sources)
    model.load_state_dict(read_weights(checkpoint, sources, dtype=dtype, device=device, keep=keep), assign=True)
