"""From a node's widgets to the config of a run: a bundled recipe, with this set, these weights and these numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import folder_paths
from comfy import model_management

from ....loom_core.bundle import BUILT_IN as BUILT_IN_FOLDER
from ....loom_core.bundle import default_preset_name
from ....loom_core.config.data import FramingConfig
from ....loom_core.config.model import DiTConfig
from ....loom_core.config.reading import build, read_settings
from ....loom_core.config.training import TrainingConfig
from ....loom_core.errors import ConfigError
from ....loom_core.weights.detect import detect_config
from ...sockets import TrainingSet
from ..encoder.files import encoder_path
from ..files import BUILT_IN, path_of
from ..media.vae import FOLDER as VAE_FOLDER
from ..model.files import open_checkpoint_of_dit
from ..model.loading import dit_path
from .names import safe_name
from .words import AUTO, LARGE_CARD, NO_LORA, RECIPES, SMALL_CARD, TINY

CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "training"
RUNS, CACHE = "loomvideo_training", "cache"
"""Folder of all runs below the host's output folder, and that of latents and prompts in it, which runs share."""
LORA_FOLDER = "loras"
_LARGE_BYTES = 20 * 10**9
_SHOWN = {"samples": 4, "pictures": 4}


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """What is asked for; 0 leaves a number to the recipe.

    Args:
        name: Of the run and its folder.
        dataset: What is trained on.
        held_out: What losses are measured on and pictures made of on the way; None takes `dataset`.
        model_name: As the model loader shows it.
        encoder_name: As the encoder loader shows it.
        vae_name: As the VAE loader shows it.
        recipe: A key of `RECIPES`.
        steps: Optimiser steps in all.
        rank: Of the LoRA; its alpha is the same.
        learning_rate: After the warm-up.
        sample_every: Steps between two measurements with pictures; below 0 for none.
        save_every: Steps between two checkpoints.
        seed: Of everything that is drawn.
        start_lora: A LoRA file that is trained further, as the LoRA loader shows it; `NO_LORA` for none.
    """

    name: str
    dataset: TrainingSet
    held_out: TrainingSet | None
    model_name: str
    encoder_name: str
    vae_name: str
    recipe: str
    steps: int
    rank: int
    learning_rate: float
    sample_every: int
    save_every: int
    seed: int
    start_lora: str = NO_LORA


def run_config(request: RunRequest) -> TrainingConfig:
    """The run that is asked for; nothing large is read.

    Raises:
        ConfigError: A setting makes no sense.
        WeightsError: A file is gone, or another model.
    """
    dit = dit_path(request.model_name)
    sizes = detect_config(open_checkpoint_of_dit(dit))
    values = read_settings(CONFIGS / _recipe(request.recipe, sizes))
    values |= {
        "name": safe_name(request.name),
        "run": str(run_folder(request.name)),
        "steps": request.steps or values["steps"],
        "seed": request.seed,
        "starts_from": str(dit),
        "model": {"sizes": asdict(sizes), "has_source": sizes.has_source},
        "mllm": str(_encoder(request.encoder_name)),
        "codec": str(_codec(request.vae_name)),
        "lora": _lora(request, values["lora"]),
        "data": _data(request.dataset, values["data"]),
        "validation": _validation(request, values.get("validation", {})),
    }
    if request.learning_rate:
        values["optimiser"] = {**values["optimiser"], "lr": request.learning_rate}
    if request.save_every:
        values["checkpoint"] = {**values["checkpoint"], "every": request.save_every}
    if values.get("prompt_cache") is not None:
        values["prompt_cache"] = str(_runs() / CACHE / "prompts")
    return build(TrainingConfig, values)


def run_folder(name: str) -> Path:
    """Where a run of a name writes.

    Raises:
        ConfigError: The name is none for a folder.
    """
    return _runs() / safe_name(name)


def _runs() -> Path:
    return Path(folder_paths.get_output_directory()) / RUNS


def _recipe(word: str, sizes: DiTConfig) -> str:
    """File of a recipe below `CONFIGS`.

    Raises:
        ConfigError: The word is unknown, or the recipe is for a model of another size.
    """
    if word not in RECIPES:
        raise ConfigError(f"recipe {word!r}", expected=f"one of {', '.join(RECIPES)}", fix="choose auto")
    is_small = default_preset_name(sizes) == "tiny"
    if word == AUTO:
        is_large = model_management.get_total_memory(model_management.get_torch_device()) > _LARGE_BYTES
        word = TINY if is_small else LARGE_CARD if is_large else SMALL_CARD
    if (word == TINY) != is_small:
        raise ConfigError(
            f"recipe {word} for a model of width {sizes.hidden_size}",
            expected=f"{TINY} for {BUILT_IN}, {SMALL_CARD} or {LARGE_CARD} for the released size",
            fix="choose auto",
        )
    return str(RECIPES[word])


def _encoder(name: str) -> Path:
    return BUILT_IN_FOLDER / "mllm" if name == BUILT_IN else encoder_path(name)


def _codec(name: str) -> Path:
    return BUILT_IN_FOLDER / "codec.safetensors" if name == BUILT_IN else path_of(name, [VAE_FOLDER])


def _lora(request: RunRequest, values: Mapping[str, Any]) -> dict[str, Any]:
    """The LoRA's group."""
    rank = request.rank or values["rank"]
    start = None if request.start_lora == NO_LORA else str(path_of(request.start_lora, [LORA_FOLDER]))
    return {**values, "rank": rank, "alpha": rank, "starts_from": start}


def _data(dataset: TrainingSet, values: Mapping[str, Any]) -> dict[str, Any]:
    """The data's group: cut as was looked at, but no longer than the recipe has room for."""
    framing = {name: getattr(dataset.framing, name) for name in FramingConfig.__dataclass_fields__}
    framing["num_frames"] = min(framing["num_frames"], values["num_frames"])
    cached = {"cache": str(_runs() / CACHE / "latents")} if values.get("cache") is not None else {}
    return {
        **values,
        **framing,
        **cached,
        "sets": [_set(dataset)],
        # processes of their own would be forked from a server with threads and a GPU
        "workers": 0,
        "max_bad_share": max(dataset.max_bad_share, values.get("max_bad_share", 0.05)),
    }


def _set(dataset: TrainingSet) -> dict[str, Any]:
    config = dataset.config
    return {"kind": config.kind, "path": str(config.path), "tasks": list(config.tasks)}


def _validation(request: RunRequest, values: Mapping[str, Any]) -> dict[str, Any]:
    """The group of what is made of held-out samples."""
    if request.sample_every < 0:
        return {**values, "every": 0, "sets": []}
    every = request.sample_every or values["every"]
    fewer = {name: min(most, values[name]) for name, most in _SHOWN.items()}
    return {**values, **fewer, "every": every, "sets": [_set(request.held_out or request.dataset)]}
