"""Giving a model on the meta device its weights, without a second copy of them in memory.

What keeps dtype and device stays a view of the memory-mapped file; the rest is copied tensor by tensor. Pages that were
read, to check or to copy them, are given back at once; a view reads them again when it is used.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .checkpoint import Checkpoint
from .checks import compare_keys, require_finite, require_keys
from .memory import release_pages


def read_weights(
    checkpoint: Checkpoint,
    sources: Mapping[str, str],
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    check_finite: bool = True,
) -> dict[str, Tensor]:
    """Read weights, each in its final place.

    Args:
        checkpoint: The file.
        sources: Name in the model -> name in the file.
        dtype: Of all floating-point weights; None keeps each one's own.
        device: Where they go.
        check_finite: Refuse NaN and infinity; reads all weights once.

    Returns:
        Name in the model -> weight; do not write to it.

    Raises:
        WeightsError: A weight is not finite, perhaps only after the cast.
    """
    weights: dict[str, Tensor] = {}
    for name, source in sources.items():
        stored = checkpoint.tensor(source)
        # This is the stored tensor itself, not a copy, where neither device nor dtype changes.
        weights[name] = stored.to(device=device, dtype=dtype if stored.is_floating_point() else None)
        if check_finite:
            require_finite(weights[name], source, checkpoint.path, cast_from=stored.dtype)
        release_pages(stored)
    return weights


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
    model.load_state_dict(read_weights(checkpoint, sources, dtype=dtype, device=device), assign=True)
