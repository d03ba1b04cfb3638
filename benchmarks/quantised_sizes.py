"""Quantised weights at the released models' size: bytes of files and in memory, counted on the meta device.

What a file has is what `cli.convert` would write; what is in memory are the layers that a loader would make of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from loom_core.config.model import LOOMVIDEO_5B
from loom_core.mllm.loading import QWEN3_VL_8B, build_empty
from loom_core.models.dit import LoomDiT
from loom_core.offload.blocks import tensors_of
from loom_core.types import Branch
from loom_core.weights.checkpoint import Checkpoint, Packing, TensorInfo
from loom_core.weights.convert import converted_entries
from loom_core.weights.filling import quantise_layers
from loom_core.weights.gguf_saving import GgufEntry
from loom_core.weights.packing import MARK, with_packings
from loom_core.weights.quantise import SCHEMES, Scheme

from .flash_operations import FlashOperations
from .full_size import DTYPE, GIGA, inputs_of
from .live_memory import peak_live_bytes
from .report import Comparison, Figure
from .workloads import full_size_edits

KEY = "quantised_full_"
COLUMNS = {
    "dit_file": "DiT, file",
    "dit_memory": "DiT, in memory",
    "dit_peak": "DiT, peak of a forward",
    "mllm_file": "MLLM, file",
    "mllm_memory": "MLLM, in memory",
}
"""End of a key -> what is counted."""
_EDIT = "edit_480p81"


@dataclass(frozen=True)
class Written:
    """A checkpoint that was not written.

    Args:
        num_bytes: Of the tensors in its file, scales and marks included.
        checkpoint: As a loader opens it; its tensors are on the meta device.
    """

    num_bytes: int
    checkpoint: Checkpoint


def written(weights: Mapping[str, Tensor], scheme: Scheme | None) -> Written:
    """What a conversion of weights to bfloat16, and to a form, would write.

    Args:
        weights: By name.
        scheme: None for bfloat16 alone.
    """

    def empty(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.empty(shape, dtype=dtype, device="meta")

    infos = {name: TensorInfo(tuple(weight.shape), DTYPE) for name, weight in weights.items()}
    source = Checkpoint(Path(), (), "none", infos, lambda name: empty(infos[name].shape, DTYPE))
    entries = {entry.name: entry for entry in converted_entries(source, tell=id, dtype=DTYPE, scheme=scheme)}

    def load(name: str) -> Tensor:
        entry, info = entries[name], entries[name].info
        if name.endswith(MARK):
            return entry.load()
        if info.stored_bytes is None:
            return empty(info.shape, info.dtype)
        return empty((info.shape[0], info.stored_bytes // info.shape[0]), info.dtype)  # GGUF's rows of blocks

    found = Checkpoint(Path(), (), "none", {name: entry.info for name, entry in entries.items()}, load)
    packings = {
        name: Packing(entry.form)
        for name, entry in entries.items()
        if isinstance(entry, GgufEntry) and entry.info.stored_bytes is not None
    }
    return Written(found.num_bytes, replace(found, packings=packings) if packings else with_packings(found))


def held(model: nn.Module, scheme: Scheme | None) -> tuple[int, int]:
    """Bytes of a model's file and of its weights in memory; the model's layers become quantised ones.

    Args:
        model: On the meta device.
        scheme: See `written`.
    """
    made = written(dict(model.named_parameters()), scheme)
    quantise_layers(model, made.checkpoint, {name: name for name in made.checkpoint})
    return made.num_bytes, sum(tensor.nbytes for tensor in tensors_of(model))


def _dit(scheme: Scheme | None) -> Iterator[tuple[str, int]]:
    model = LoomDiT(LOOMVIDEO_5B, operations=FlashOperations, device="meta", dtype=DTYPE)
    in_file, in_memory = held(model, scheme)
    yield "dit_file", in_file
    yield "dit_memory", in_memory
    condition, latents, timestep = inputs_of(full_size_edits()[_EDIT][Branch.FULL])
    with torch.no_grad():
        prepared = model.prepare([condition], latents)
    yield "dit_peak", in_memory + peak_live_bytes(lambda: model(latents, timestep, prepared))


def _mllm(scheme: Scheme | None) -> Iterator[tuple[str, int]]:
    in_file, in_memory = held(build_empty(QWEN3_VL_8B).to(DTYPE), scheme)
    yield "mllm_file", in_file
    yield "mllm_memory", in_memory


def counts(scheme: Scheme | None) -> dict[str, int]:
    """Bytes by the end of a key."""
    return {**dict(_dit(scheme)), **dict(_mllm(scheme))}


def measure() -> Iterator[Comparison]:
    """Bytes of each form beside those of bfloat16."""
    plain = counts(None)
    for name, scheme in SCHEMES.items():
        for what, num_bytes in counts(scheme).items():
            yield Comparison(
                key=f"{KEY}{what}_{name.replace('-', '_')}",
                title=f"{COLUMNS[what]}, {name}",
                first=Figure("bf16", plain[what] / GIGA),
                second=Figure(name, num_bytes / GIGA),
                unit="GB",
                conditions="full size, meta device, all else in bfloat16; forward: video edit 832x480, 81 frames",
            )


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Results as a table, a row a form."""

    def row(name: str, figure: str, way: str) -> str:
        values = (results[f"{KEY}{what}_{way}"][figure]["value"] for what in COLUMNS)
        return f"| {name} | " + " | ".join(f"{value:.2f} GB" for value in values) + " |"

    ways = {name: name.replace("-", "_") for name in SCHEMES}
    return "\n".join(
        [
            "| weights | " + " | ".join(COLUMNS.values()) + " |",
            "|---" * (1 + len(COLUMNS)) + "|",
            row("bf16", "first", next(iter(ways.values()))),
            *(row(name, "second", way) for name, way in ways.items()),
        ]
    )
