"""Sizes of a Qwen3-VL and whether it is whole, told from a file's header before gigabytes of it are read.

A layer must have every weight that another of its row has; so files of any number format are judged alike, whatever
they keep beside the weights.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ..errors import WeightsError
from ..phrases import phrase
from ..weights.checkpoint import Checkpoint
from ..weights.checks import shortened, wrong_model
from .loading import model_key

_ROW = re.compile(
    r"(language_model\.layers|visual\.blocks|visual\.deepstack_merger_list)\.(\d+)\.(.+\.(?:weight|bias))"
)
_LAYERS, _DEEPSTACK = "language_model.layers", "visual.deepstack_merger_list."
_FIRST_WORDS = "language_model.layers.0.self_attn.q_norm.weight"
_NORM = "language_model.norm.weight"
_SINGLES = (
    "language_model.embed_tokens.weight",
    _NORM,
    "visual.patch_embed.proj.weight",
    "visual.pos_embed.weight",
    "visual.merger.norm.weight",
    "visual.merger.linear_fc1.weight",
    "visual.merger.linear_fc2.weight",
)
_ROWS = (_LAYERS, "visual.blocks", "visual.deepstack_merger_list")


@dataclass(frozen=True)
class QwenSizes:
    """What a DiT has to agree with.

    Args:
        num_layers: Decoder layers of the language model.
        hidden_size: Width of its states.
    """

    num_layers: int
    hidden_size: int


def qwen_sizes(checkpoint: Checkpoint) -> QwenSizes:
    """Sizes of a whole Qwen3-VL, quantised or not.

    Args:
        checkpoint: Named as on the model hub or as ComfyUI names it.

    Raises:
        WeightsError: It is another model, lacks its vision part, or lacks weights.
    """
    shapes = {name: info.shape for key, info in checkpoint.infos.items() if (name := model_key(key)) is not None}
    reads = _FIRST_WORDS in shapes
    sees = any(name.startswith(_DEEPSTACK) for name in shapes)
    if not sees and (not reads or any(name.startswith("visual.") for name in shapes)):
        raise wrong_model(
            checkpoint, expected="Qwen3-VL with its vision part", fix="choose the file or folder of Qwen3-VL-8B"
        )
    if not sees:
        raise WeightsError(
            phrase("{path}, a language model without a vision part", path=checkpoint.path),
            expected="Qwen3-VL with its vision part, which reads source and references",
            fix="choose the file or folder of Qwen3-VL-8B, not one of the text part alone",
        )
    rows = _rows(shapes)
    missing = [name for name in _SINGLES if name not in shapes] + _gaps(rows)
    if missing:
        raise WeightsError(
            phrase(
                "{path}, which lacks {count} weights of Qwen3-VL: {names}",
                path=checkpoint.path,
                count=len(missing),
                names=shortened(missing),
            ),
            expected="a whole model",
            fix="choose the folder where this is one part of several, else download the file again",
        )
    return QwenSizes(num_layers=len(rows[_LAYERS]), hidden_size=shapes[_NORM][0])


def _rows(shapes: Collection[str]) -> Mapping[str, Mapping[int, Collection[str]]]:
    """What each layer of each row of layers has, by the row's name and the layer's number."""
    rows: dict[str, dict[int, set[str]]] = {row: {} for row in _ROWS}
    for name in shapes:
        if match := _ROW.fullmatch(name):
            row, number, weight = match.groups()
            rows[row].setdefault(int(number), set()).add(weight)
    return rows


def _gaps(rows: Mapping[str, Mapping[int, Collection[str]]]) -> list[str]:
    """Weights that a layer lacks though another of its row has them."""
    return [
        f"{row}.{number}.{weight}"
        for row, layers in rows.items()
        for number in (range(max(layers) + 1) if layers else ())
        for weight in _expected(list(layers.values()))
        if weight not in layers.get(number, ())
    ] + [f"{row}.0" for row, layers in rows.items() if not layers]


def _expected(layers: Sequence[Collection[str]]) -> list[str]:
    return sorted(set().union(*layers))
