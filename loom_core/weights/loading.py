"""From a checkpoint to a LoomDiT: made on the meta device, without memory, then given its weights (`filling.py`)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ..config.model import DiTConfig
from ..models.dit import LoomDiT
from ..models.initialise import initialise_additions
from ..models.operations import Operations, TorchOperations
from .checkpoint import Checkpoint
from .checks import KeyReport, compare_keys, require_dit, require_keys
from .detect import detect_config
from .filling import quantise_layers, read_weights
from .identify import ModelKind
from .packing import with_packings
from .reading import open_checkpoint

logger = logging.getLogger(__name__)

ADDITIONS = ("mllm_embedder.", "source_patch_embedding.")
"""What LoomVideo adds to Wan 2.2 TI2V-5B."""


def load_dit(
    path: str | Path,
    *,
    dtype: torch.dtype | Literal["keep"] | None = None,
    device: torch.device | str = "cpu",
    config: DiTConfig | Mapping[str, Any] | None = None,
    operations: type[Operations] = TorchOperations,
    allow_plain_wan: bool = False,
    ema: bool = True,
    check_finite: bool = True,
) -> LoomDiT:
    """Load a LoomVideo DiT from any accepted file or folder.

    Args:
        path: See `open_checkpoint`.
        dtype: Of all parameters; None takes the one that most of the file is in, so that the model computes in one
            precision (official files mix bfloat16 and float32). "keep" keeps each parameter's own, which only
            layers that cast their weights can compute with.
        device: Where the parameters go.
        config: Overrides what the file says of itself (see `detect_config`).
        operations: Where the model's layers come from.
        allow_plain_wan: Accept a plain Wan 2.2 TI2V-5B as the start of a training: the parts that it lacks are made
            with their starting values, under which they contribute nothing.
        ema: Take averaged weights where a folder has them.
        check_finite: Refuse NaN and infinity; reads all weights once.

    Returns:
        The model in eval mode, without gradients. Parameters on the CPU that keep their dtype are views of the file.
        Matrices that the file has quantised stay so, and are widened at each use (`models.quantised`).

    Raises:
        WeightsError: The file is damaged, unsafe, of another model, or does not fit; the error names every weight.
    """
    checkpoint = with_packings(open_checkpoint(path, ema=ema))
    require_dit(checkpoint, allow_plain_wan=allow_plain_wan, allow_quantised=True)
    detected = detect_config(checkpoint, config)
    is_plain_wan = checkpoint.kind is ModelKind.WAN_22_5B
    model = LoomDiT(
        replace(detected, has_source=True, has_projector=True) if is_plain_wan else detected,
        operations=operations,
        device="meta",
    )
    main_dtype = dtype if isinstance(dtype, torch.dtype) else checkpoint.native().main_dtype
    placed_as = None if dtype == "keep" else main_dtype
    additions = _starting_additions(model, checkpoint, dtype=main_dtype) if is_plain_wan else {}
    require_keys(key_report(checkpoint, model, ignore=additions), checkpoint.path)
    if checkpoint.naming.foreign:
        logger.info("%s: %d tensors of other components are ignored", path, len(checkpoint.naming.foreign))

    state = {name: tensor.to(device) for name, tensor in additions.items()}
    sources = checkpoint.naming.sources
    keep = quantise_layers(model, checkpoint, sources)
    state |= read_weights(checkpoint, sources, dtype=placed_as, device=device, check_finite=check_finite, keep=keep)
    model.load_state_dict(state, strict=True, assign=True)
    return model.eval().requires_grad_(False)


def key_report(checkpoint: Checkpoint, model: LoomDiT, *, ignore: Mapping[str, Any] | None = None) -> KeyReport:
    """How a checkpoint's weights differ from a model's, under the names of the file.

    Args:
        checkpoint: Of a DiT.
        model: May lie on the meta device.
        ignore: Weights of the model that the file need not have, as keys.
    """
    naming = checkpoint.naming
    expected = {
        naming.in_file(name): tuple(tensor.shape)
        for name, tensor in model.state_dict().items()
        if name not in (ignore or {})
    }
    found = {source: checkpoint.infos[source].shape for source in naming.sources.values()}
    return compare_keys(found, expected)


def _starting_additions(model: LoomDiT, checkpoint: Checkpoint, *, dtype: torch.dtype) -> dict[str, Tensor]:
    """Starting values, on the CPU, for what a plain Wan checkpoint lacks."""
    logger.warning(
        "%s is %s. The projector of MLLM states and the source embedding have their starting values, under which "
        "neither contributes anything: this is the start of a training, it does not follow prompts or sources yet.",
        checkpoint.path,
        checkpoint.kind.value,
    )
    model.mllm_embedder.to_empty(device="cpu")
    model.source_patch_embedding.to_empty(device="cpu")
    initialise_additions(model, generator=torch.Generator().manual_seed(0))
    return {name: tensor.to(dtype) for name, tensor in model.state_dict().items() if name.startswith(ADDITIONS)}
