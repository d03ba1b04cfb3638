"""What a LoRA file is, told from its headers: whose names, which layers, which ranks, for which model."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config.model import DiTConfig
from ..config.training import MODEL_PRESETS
from ..errors import WeightsError
from ..weights.checkpoint import Checkpoint
from ..weights.key_maps import strip_prefix
from ..weights.reading import open_checkpoint
from .adapters import BASE_CONFIG_KEY
from .lora_file import LoraFile, open_lora, shapes_of

MODEL_NAMES = {"5b": "LoomVideo or Wan 2.2 TI2V-5B", "tiny": "loom-tiny"}
"""Preset -> what a LoRA that fits it is for."""


@dataclass(frozen=True)
class LoraInspection:
    """What is known of a LoRA file.

    Args:
        lora: The file as changes of a model.
        model: Which model that is, in words.
    """

    lora: LoraFile
    model: str

    @property
    def kinds(self) -> Counter[str]:
        """How many weights are changed in which way, ranks told apart."""
        return Counter(map(str, self.lora.changes.values()))

    @property
    def scales(self) -> Counter[float]:
        """What changes with a rank are multiplied by (alpha / rank), and how many of them."""
        return Counter(change.scale for change in self.lora.changes.values() if change.rank)

    @property
    def places(self) -> Counter[str]:
        """How many weights are changed of which part of the model: self_attn, cross_attn, ffn, head ..."""
        return Counter(_place(name) for name in self.lora.changes)

    @property
    def style(self) -> str:
        """The first name in the file that changes something, which shows how its trainer names modules."""
        return next(key for change in self.lora.changes.values() for key in change.parts.values())

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        checkpoint = self.lora.checkpoint
        return {
            "path": str(checkpoint.path),
            "model": self.model,
            "num_tensors": len(checkpoint),
            "num_bytes": checkpoint.num_bytes,
            "num_changes": len(self.lora.changes),
            "kinds": dict(self.kinds),
            "scales": {f"{scale:g}": count for scale, count in self.scales.items()},
            "parts": dict(self.places),
            "first_name": self.style,
            "left_out": list(self.lora.left_out),
            "dead": list(self.lora.dead),
            "metadata": dict(checkpoint.metadata),
        }


def inspect_lora(path: Path, *, model: Path | None = None) -> LoraInspection:
    """Describe a LoRA file.

    Args:
        path: The file, or the folder of a run that trains one.
        model: Weights that it should fit; None tries the models that are known, and the one that the file names.

    Raises:
        WeightsError: It is no LoRA, or fits no such model.
    """
    if model is not None:
        return LoraInspection(open_lora(path, open_checkpoint(model).native().shapes), str(model))
    refused: WeightsError | None = None
    for name, config in _candidates(open_checkpoint(path)):
        try:
            return LoraInspection(open_lora(path, shapes_of(config)), name)
        except WeightsError as error:
            refused = refused or error
    assert refused is not None
    raise refused


def _candidates(checkpoint: Checkpoint) -> Iterator[tuple[str, DiTConfig]]:
    """Models that a file may be for: (in words, sizes)."""
    yield from ((MODEL_NAMES[preset], config) for preset, config in MODEL_PRESETS.items())
    try:
        config = DiTConfig.from_mapping(json.loads(checkpoint.metadata[BASE_CONFIG_KEY]))
    except (KeyError, ValueError, TypeError):
        return
    yield f"a LoomVideo DiT of {config.num_layers} blocks, {config.hidden_size} wide", config


def _place(weight: str) -> str:
    """The part of the model that a weight lies in, that of a block without its number."""
    parts = strip_prefix(weight)[1].split(".")
    return parts[2] if parts[0] == "blocks" else parts[0]
