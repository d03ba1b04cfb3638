"""Where the DiT's weights lie in a folder: names that say so, as data, else what the files there are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ..errors import WeightsError
from .gguf_files import open_gguf
from .identify import ModelKind
from .safetensors_files import INDEX_SUFFIX, open_safetensors, open_sharded, read_index

EMA_FILE = "ema/ema.pth"
OWN_EMA_FILE, OWN_MODEL_FILE = "ema.safetensors", "model.safetensors"
"""Averaged and live weights in a checkpoint of our own training."""
OWN_LORA_EMA_FILE, OWN_LORA_FILE = "lora_ema.safetensors", "lora.safetensors"
"""The same of a run that trains a LoRA; given where a model is expected, they are named as what they are."""

CANDIDATES = (
    (EMA_FILE, "official checkpoint folder, averaged weights"),
    (OWN_EMA_FILE, "LoomVideo training checkpoint, averaged weights"),
    ("latest/gen_model.pth", "official checkpoint folder, live weights"),
    ("gen_model.pth", "official release"),
    ("gen_model.safetensors", "official release, converted"),
    ("dit.safetensors", "LoomVideo bundle"),
    ("dit.gguf", "LoomVideo bundle, quantised"),
    ("dit", "LoomVideo bundle"),
    ("transformer", "diffusers pipeline"),
)
"""(path inside the folder, whose layout it is) of names that only a DiT has, the first that exists wins.

Source of the first three and their order: the official loader (golden `weights/layout.json`).
"""

USUAL_NAMES = (
    ("diffusion_pytorch_model" + INDEX_SUFFIX, "diffusers component in shards"),
    ("diffusion_pytorch_model.safetensors", "diffusers component"),
    ("model" + INDEX_SUFFIX, "Hugging Face folder in shards"),
    ("model.safetensors", "Hugging Face folder"),
    ("model.gguf", "Hugging Face folder, quantised"),
)
"""The same of names that any model may have: they settle which of several files is meant, unless another is the DiT."""

RUN_FOLDER = "checkpoints"
"""Where in a run's folder its checkpoints lie."""
_STEP_FOLDER = re.compile(r"step-(\d{6,})")

_DIT_KINDS = (
    frozenset({ModelKind.LOOMVIDEO, ModelKind.LOOMVIDEO_STAGE_1}),
    frozenset({ModelKind.WAN_22_5B}),
)
"""What is looked for among several files, the best first."""


def step_folder_name(step: int) -> str:
    """Name of the checkpoint of an optimiser step."""
    return f"step-{step:06d}"


def step_folders(run: Path) -> dict[int, Path]:
    """The checkpoints of a run's folder by step, the oldest first; none of another folder."""
    folder = run / RUN_FOLDER
    if not folder.is_dir():
        return {}
    found = {int(match.group(1)): path for path in folder.iterdir() if (match := _STEP_FOLDER.fullmatch(path.name))}
    return dict(sorted(found.items()))


def find_weights(folder: Path, *, ema: bool = True) -> Path:
    """The file or index in a folder that holds the DiT, or the only model there.

    Args:
        folder: A checkpoint folder of any layout in `CANDIDATES`, or of a LoRA; the folder of a training run, whose
            newest checkpoint is taken; or one with safetensors files, of which, if they are several, one is a DiT or
            has one of the `USUAL_NAMES`. Of those only headers are read.
        ema: False passes averaged weights over and takes the live ones.

    Raises:
        WeightsError: Nothing was found, or several files and no way to choose.
    """
    for relative, _ in CANDIDATES:
        candidate = folder / relative
        if relative in (EMA_FILE, OWN_EMA_FILE) and not ema:
            continue
        if candidate.is_file():
            return candidate
        if candidate.is_dir():
            return find_weights(candidate, ema=ema)
    steps = step_folders(folder)
    if steps:
        return find_weights(steps[max(steps)], ema=ema)
    models = _models_in(folder)
    if len(models) == 1:
        return models[0]
    kinds = {path: _kind_of(path) for path in models}
    chosen = _only_dit(kinds) or _usual(kinds)
    loras = [folder / name for name in (OWN_LORA_EMA_FILE, OWN_LORA_FILE) if ema or name != OWN_LORA_EMA_FILE]
    chosen = chosen or next((path for path in loras if path in kinds), None)
    if chosen is not None:
        return chosen
    seen = ", ".join(f"{path.name}: {kind.value if kind else 'damaged'}" for path, kind in kinds.items())
    known = ", ".join(relative for relative, _ in (*CANDIDATES, *USUAL_NAMES))
    raise WeightsError(
        f"{len(models)} safetensors files in {folder} ({seen})" if models else f"no weights in the folder {folder}",
        expected=f"one DiT and no second, or one of {known}",
        fix="give the path of the file itself",
    )


def _models_in(folder: Path) -> list[Path]:
    """Indices, safetensors files that are no shard of one, and GGUF files, in order."""
    indices = sorted(folder.glob("*" + INDEX_SUFFIX))
    shards = {shard for index in indices for shard in _shards_of(index)}
    plain = [path for path in sorted(folder.glob("*.safetensors")) if path.name not in shards]
    return indices + plain + sorted(folder.glob("*.gguf"))


def _shards_of(index: Path) -> set[str]:
    try:
        return set(read_index(index).values())
    except WeightsError:  # whoever opens it is told
        return set()


def _kind_of(path: Path) -> ModelKind | None:
    """What a file or index seems to be, from headers alone; None if it is damaged."""
    is_index, is_gguf = path.name.endswith(INDEX_SUFFIX), path.suffix == ".gguf"
    try:
        return (open_sharded if is_index else open_gguf if is_gguf else open_safetensors)(path).kind
    except WeightsError:
        return None


def _only_dit(kinds: Mapping[Path, ModelKind | None]) -> Path | None:
    """The one DiT of the best kind that is there; None if there is none, or another beside it."""
    for wanted in _DIT_KINDS:
        found = [path for path, kind in kinds.items() if kind in wanted]
        if found:
            return found[0] if len(found) == 1 else None
    return None


def _usual(kinds: Mapping[Path, ModelKind | None]) -> Path | None:
    """The file that has a usual name, unless it is another model than the DiTs beside it."""
    path_of = {path.name: path for path in kinds}
    usual = next((path_of[name] for name, _ in USUAL_NAMES if name in path_of), None)
    dits = frozenset().union(*_DIT_KINDS)
    is_beside_dits = not dits.isdisjoint(kinds.values())
    return None if usual is not None and is_beside_dits and kinds[usual] not in dits else usual
