"""A DiT's file as the host loads it: every number format that the host knows, every naming that we know, checked.

Plain weights are checked name by name and shape by shape. Of a quantised layer only the first size is what it was (four
bits an element halve the second), and its other tensors are the host's business.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import comfy.utils
from torch import Tensor

from ....loom_core.config.model import DiTConfig
from ....loom_core.models.dit import LoomDiT
from ....loom_core.weights.checkpoint import Checkpoint, TensorInfo
from ....loom_core.weights.checks import KeyReport, require_keys, wrong_model
from ....loom_core.weights.detect import detect_config
from ....loom_core.weights.identify import ModelKind
from ....loom_core.weights.key_maps import native_names
from ....loom_core.weights.loading import key_report
from ....loom_core.weights.reading import open_checkpoint
from ..files import refuse_gguf

SAFETENSORS = (".safetensors", ".sft")
_MARK = ".comfy_quant"
"""Ending of the tensor that says how the host's quantised layer is stored."""
_ELSEWHERE = {
    ModelKind.WAN_22_VAE: "choose it in LoomVideo VAE Loader",
    ModelKind.LINEAR_CODEC: "choose it in LoomVideo VAE Loader",
    ModelKind.QWEN3_VL: "choose it in LoomVideo Encoder Loader",
    ModelKind.LORA: "choose it in LoomVideo LoRA Loader",
    ModelKind.WAN_22_5B: "load it with ComfyUI's own loader for what it can do; LoomVideo needs its own weights",
    ModelKind.WAN_OTHER: "load it with ComfyUI's own loader for what it can do; LoomVideo needs its own weights",
}
"""What a file that is no LoomVideo DiT is good for."""
_FIX = "choose the file with the DiT's weights (gen_model), or built-in: loom-tiny"


@dataclass(frozen=True)
class DiTFile:
    """Weights of a LoomVideo DiT, checked.

    Args:
        tensors: Under Wan-native names, with those that belong to quantised layers.
        config: Sizes.
        is_quantised: Whether some layers are quantised in the host's way.
    """

    tensors: dict[str, Tensor]
    config: DiTConfig
    is_quantised: bool


def read_dit(path: Path) -> DiTFile:
    """Read a file of a LoomVideo DiT; headers are checked before the data is touched.

    Args:
        path: safetensors, or a file of `torch.save`, of which nothing but tensors is read.

    Raises:
        WeightsError: It is damaged, unsafe, of another model, or lacks weights; each is named.
    """
    checkpoint = open_checkpoint_of_dit(path)
    stored, metadata = _with_newest_quantisation(checkpoint)
    sources = native_names(stored).sources
    tensors = {name: stored[source] for name, source in sources.items()}
    layers = {name.removesuffix(_MARK) for name in tensors if name.endswith(_MARK)}
    packed = {source for name, source in sources.items() if _is_packed(name, layers)}
    plain = replace(
        checkpoint,
        infos={
            name: TensorInfo(tuple(tensor.shape), tensor.dtype) for name, tensor in stored.items() if name not in packed
        },
        load=stored.__getitem__,
        metadata=metadata,
    )
    config = detect_config(plain)
    model = LoomDiT(config, device="meta")
    report = key_report(plain, model, ignore={f"{layer}.weight": None for layer in layers})
    require_keys(_with_quantised(report, layers, tensors, model), path)
    if foreign := checkpoint.naming.foreign:
        logging.info("LoomVideo: %d tensors of other components in %s are left out", len(foreign), path.name)
    return DiTFile(tensors, config, is_quantised=bool(layers))


def open_checkpoint_of_dit(path: Path) -> Checkpoint:
    """Open a file without reading its tensors, and refuse one that is no LoomVideo DiT.

    Args:
        path: See `read_dit`.

    Raises:
        WeightsError: It is damaged, unsafe or of another model; the error says which, and where that belongs.
    """
    refuse_gguf(path)
    checkpoint = open_checkpoint(path)
    if not checkpoint.kind.is_loomvideo:
        fix = _ELSEWHERE.get(checkpoint.kind, _FIX)
        raise wrong_model(checkpoint, expected="a LoomVideo DiT", fix=fix)
    return checkpoint


def stored_tensors(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """All tensors of a file under its own names, by the host's reader where it has one.

    The host's memory management knows what comes from where in a file that it has read itself.

    Args:
        checkpoint: Of anything.
    """
    file = checkpoint.files[0]
    if len(checkpoint.files) == 1 and file.suffix.lower() in SAFETENSORS and checkpoint.layout == "safetensors":
        tensors: dict[str, Tensor] = comfy.utils.load_torch_file(str(file))
        return tensors
    return {name: checkpoint.tensor(name) for name in checkpoint}


def _with_newest_quantisation(checkpoint: Checkpoint) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors and the metadata, with quantisation of any age written as the host's newest."""
    tensors, metadata = stored_tensors(checkpoint), dict(checkpoint.metadata)
    for prefix in dict.fromkeys(("", checkpoint.naming.prefix)):
        tensors, metadata = comfy.utils.convert_old_quants(tensors, prefix, metadata=metadata)
    return tensors, metadata


def _is_packed(name: str, layers: set[str]) -> bool:
    """Whether a tensor is a quantised layer's, other than its bias."""
    layer, _, part = name.rpartition(".")
    return layer in layers and part != "bias"


def _with_quantised(report: KeyReport, layers: set[str], tensors: Mapping[str, Any], model: LoomDiT) -> KeyReport:
    """The report on plain weights, with what is wrong about the quantised ones."""
    sizes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    weights = [f"{layer}.weight" for layer in sorted(layers)]
    found = {name: tensors[name].shape[0] for name in weights if name in tensors}
    return KeyReport(
        missing=(*report.missing, *(name for name in weights if name in sizes and name not in found)),
        unexpected=(*report.unexpected, *(name for name in weights if name not in sizes)),
        misshaped=(
            *report.misshaped,
            *(
                f"{name} (found {found[name]} rows, expected {sizes[name][0]})"
                for name in weights
                if name in found and name in sizes and found[name] != sizes[name][0]
            ),
        ),
    )
