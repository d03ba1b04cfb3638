"""A LoRA's tensors as a file among the host's LoRAs: whole or not there, under a name that no other file loses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import folder_paths
from torch import Tensor

from ....loom_core.atomic import make_folder
from ....loom_core.errors import ConfigError, WeightsError
from ....loom_core.weights.saving import entries_of, save_safetensors
from .names import safe_name
from .recipes import LORA_FOLDER
from .words import NUMBER, REPLACE

SUFFIX = ".safetensors"


def save_lora(lora: Mapping[str, Tensor], name: str, *, if_there: str) -> Path:
    """Write a LoRA to the first of the host's LoRA folders.

    Args:
        lora: Tensors by the names that a file has; `running.TrainedLora` brings metadata along.
        name: Of the file, with or without its ending.
        if_there: A word of `words.IF_THERE`.

    Returns:
        The file.

    Raises:
        ConfigError: The name is none for a file, or there is such a file and it is to be kept.
        WeightsError: There is nothing to save.
        OutputError: The folder cannot be written to.
        ResourceError: The disk is full; nothing is left behind.
    """
    if not lora or not all(isinstance(tensor, Tensor) for tensor in lora.values()):
        raise WeightsError("no tensors", expected="a LoRA, from LoomVideo Train LoRA", fix="connect one")
    folder = Path(folder_paths.get_folder_paths(LORA_FOLDER)[0])
    make_folder(folder, what="the folder of LoRAs", fix="check who may write there")
    path = _free_path(folder, safe_name(name.strip().removesuffix(SUFFIX)), if_there)
    save_safetensors(path, entries_of(lora), metadata=getattr(lora, "metadata", None))
    return path


def _free_path(folder: Path, stem: str, if_there: str) -> Path:
    path = folder / (stem + SUFFIX)
    if if_there == REPLACE or not path.exists():
        return path
    if if_there != NUMBER:
        raise ConfigError(f"a file {path.name} that is there", expected="none", fix="give another name")
    number = 2
    while (path := folder / f"{stem}_{number}{SUFFIX}").exists():
        number += 1
    return path
