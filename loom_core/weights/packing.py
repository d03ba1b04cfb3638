"""Which weights of a file are quantised, and how: read off the marks that ComfyUI's quantised files carry.

Three ages of marks exist. A tensor `<layer>.comfy_quant` with JSON, a byte an element; the same of all layers in the
metadata (`_quantization_metadata`); and before both, `scaled_fp8` in a file of fp8 weights with `<layer>.scale_weight`.
Source: ComfyUI's `utils.convert_old_quants` and `ops._load_quantized_module`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..errors import WeightsError
from ..models.quantised import STORED_AS
from .checkpoint import Checkpoint, Packing
from .key_maps import strip_prefix

MARK, SCALE, INPUT_SCALE = ".comfy_quant", ".weight_scale", ".input_scale"
METADATA_KEY = "_quantization_metadata"
_OLD_MARK, _OLD_SCALE, _OLD_INPUT_SCALE = "scaled_fp8", ".scale_weight", ".scale_input"
_OLD_FORM = "float8_e4m3fn"
_ROTATED = "convrot"


def with_packings(checkpoint: Checkpoint) -> Checkpoint:
    """A checkpoint that knows which of its weights are quantised, their scales and marks no longer among its tensors.

    Args:
        checkpoint: As opened. A GGUF file knows already.

    Raises:
        WeightsError: A layer is quantised in a way unknown here, or lacks its weight or scale.
    """
    layers = _marked_layers(checkpoint)
    if not layers:
        return checkpoint
    packings, extras = {}, {name for name in checkpoint if _is_mark(name)}
    for layer, settings in layers.items():
        packings[f"{layer}.weight"] = _packing(checkpoint, layer, settings)
        extras |= {layer + ending for ending in (SCALE, INPUT_SCALE, _OLD_SCALE, _OLD_INPUT_SCALE)}
    infos = {name: info for name, info in checkpoint.infos.items() if name not in extras}
    return replace(checkpoint, infos=infos, packings=packings)


def forms_of(checkpoint: Checkpoint) -> dict[str, int]:
    """How many layers of a checkpoint are quantised in each form, also in those that cannot be read here."""
    forms = [packing.form for packing in checkpoint.packings.values()]
    forms += [str(settings.get("format")) for settings in _marked_layers(checkpoint).values()]
    return {form: forms.count(form) for form in dict.fromkeys(forms)}


def _is_mark(name: str) -> bool:
    return name.endswith(MARK) or strip_prefix(name)[1] == _OLD_MARK


def _marked_layers(checkpoint: Checkpoint) -> dict[str, Mapping[str, Any]]:
    """Layer -> what its mark says."""
    if METADATA_KEY in checkpoint.metadata:
        content = _read_json(checkpoint.metadata[METADATA_KEY], checkpoint, METADATA_KEY)
        layers: Any = content.get("layers")
        if not isinstance(layers, dict) or not all(isinstance(settings, dict) for settings in layers.values()):
            raise _damaged(checkpoint, METADATA_KEY)
        return layers
    if any(strip_prefix(name)[1] == _OLD_MARK for name in checkpoint):
        old = {"format": _OLD_FORM}
        return {name.removesuffix(_OLD_SCALE): old for name in checkpoint if name.endswith(_OLD_SCALE)}
    return {
        name.removesuffix(MARK): _read_json(bytes(checkpoint.tensor(name).tolist()), checkpoint, name)
        for name in checkpoint
        if name.endswith(MARK)
    }


def _packing(checkpoint: Checkpoint, layer: str, settings: Mapping[str, Any]) -> Packing:
    form, params = str(settings.get("format")), settings.get("params")
    is_rotated = settings.get(_ROTATED) or (isinstance(params, dict) and params.get(_ROTATED))
    if form not in STORED_AS or is_rotated:
        raise WeightsError(
            f"{checkpoint.path}, whose layer {layer!r} is quantised as {form}{' with convrot' if is_rotated else ''}",
            expected=f"one of {', '.join(STORED_AS)}",
            fix="load it in ComfyUI, which may know this form, or quantise the bf16 weights with loom_core.cli.convert",
        )
    weight, stored = f"{layer}.weight", checkpoint.infos.get(f"{layer}.weight")
    if stored is None or stored.dtype is not STORED_AS[form]:
        raise WeightsError(
            f"{checkpoint.path}, whose quantised layer {layer!r} has "
            + ("no weight" if stored is None else f"a weight in {str(stored.dtype).removeprefix('torch.')}"),
            expected=f"one in {str(STORED_AS[form]).removeprefix('torch.')}, as its mark says",
            fix="get the file again, or quantise it again",
        )
    scale = next((layer + ending for ending in (SCALE, _OLD_SCALE) if layer + ending in checkpoint), None)
    scales = 0 if scale is None else checkpoint.infos[scale].num_elements
    if scales not in {1, stored.shape[0]}:
        raise WeightsError(
            f"{checkpoint.path}, with {scales} scales of the quantised weight {weight!r}",
            expected=f"one, or one for each of its {stored.shape[0]} rows",
            fix="get the file again, or quantise it again",
        )
    return Packing(form, scale)


def _read_json(text: str | bytes, checkpoint: Checkpoint, name: str) -> Mapping[str, Any]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise _damaged(checkpoint, name) from error
    if not isinstance(content, dict):
        raise _damaged(checkpoint, name)
    return content


def _damaged(checkpoint: Checkpoint, name: str) -> WeightsError:
    return WeightsError(
        f"{checkpoint.path}, whose mark of quantisation {name!r} cannot be read",
        expected="a JSON object",
        fix="get the file again, or quantise it again",
    )
