"""Encoders from disk as the host's CLIP: the built-in one, a file, or a Hugging Face folder in any number of shards.

Headers are looked at before anything is loaded. Weights are read by the host, which maps files into memory and takes
them over tensor by tensor, so shards are joined without a copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import comfy.sd
import comfy.utils
import folder_paths
import torch
from comfy.model_patcher import ModelPatcher

from ....loom_core.bundle import find_model
from ....loom_core.config.model import parse_rope_precision
from ....loom_core.errors import WeightsError
from ....loom_core.mllm.loading import model_key, read_config
from ....loom_core.mllm.sizes import QwenSizes, qwen_sizes
from ....loom_core.mllm.vision import load_vision_settings
from ....loom_core.weights.reading import open_checkpoint
from ....loom_core.weights.safetensors_files import INDEX_SUFFIX
from ..files import BUILT_IN, refuse_gguf
from .files import encoder_path
from .models import make_clip
from .qwen import Pairing, pairing_of

NUM_BLOCKS, ROPE_PRECISION = "loom_num_blocks", "loom_rope_precision"
"""Entries of a folder's `config.json` by which an encoder of another size than the released one says which DiT it is
for: how many blocks that has, and in which precision of rotary frequencies it was trained ("exact" if absent)."""


def load_encoder(name: str) -> comfy.sd.CLIP:
    """The encoder of a choice.

    Args:
        name: As `files.offered_encoders` showed it.

    Raises:
        WeightsError: The files are missing, damaged, of another model, without vision part, or of a size that no
            LoomVideo model reads.
    """
    return load_path(find_model().mllm if name == BUILT_IN else encoder_path(name))


def load_path(path: Path, *, disable_dynamic: bool = False) -> comfy.sd.CLIP:
    """The encoder in a file or folder.

    Args:
        path: A safetensors file, or a Hugging Face folder.
        disable_dynamic: The host's switch for its plain memory management.

    Raises:
        WeightsError: See `load_encoder`.
    """
    refuse_gguf(path)
    checkpoint = open_checkpoint(path)
    sizes = qwen_sizes(checkpoint)
    values = read_config(path / "config.json", needed=True) if path.is_dir() else {}
    pairing = _own_pairing(path, values)
    if pairing is None:
        pairing_of(sizes.num_layers, sizes.hidden_size, what=f"{path}, a Qwen3-VL")
    files = [file for file in checkpoint.files if not file.name.endswith(INDEX_SUFFIX)]
    try:
        weights = _read(files)
        if pairing is None:
            clip = _released(weights, disable_dynamic=disable_dynamic)
        else:
            clip = make_clip(weights, values, pairing, disable_dynamic=disable_dynamic)
    except (RuntimeError, KeyError) as error:  # what the host raises for shapes and sizes that do not fit
        raise _unfit(path, sizes, error) from error
    known_by = [*files, path / "config.json"] if path.is_dir() else files
    clip.patcher.cached_patcher_init = (load_patcher, (str(path), tuple(str(file) for file in known_by)))
    return clip


def load_patcher(path: str, _files: tuple[str, ...], *, disable_dynamic: bool = False) -> ModelPatcher:
    """What the host calls to load an encoder once more.

    Args:
        path: Of the file or folder.
        _files: Those that hold weights and sizes; an encoder is known by them.
        disable_dynamic: The host's switch for its plain memory management.
    """
    return load_path(Path(path), disable_dynamic=disable_dynamic).patcher


def _own_pairing(path: Path, values: Mapping[str, Any]) -> Pairing | None:
    """What an encoder of another size than the released one says of its DiT; None if it says nothing."""
    built_in = find_model()
    if path == built_in.mllm:
        config = built_in.dit_config()
        num_blocks, precision = config.num_layers, config.rope_precision
    elif NUM_BLOCKS in values:
        num_blocks, precision = values[NUM_BLOCKS], parse_rope_precision(values.get(ROPE_PRECISION, "exact"))
    else:
        return None
    layers = values["text_config"]["num_hidden_layers"]
    if not isinstance(num_blocks, int) or not 1 <= num_blocks <= layers:
        raise WeightsError(
            f"{NUM_BLOCKS} {num_blocks!r} in {path}", expected=f"1 to {layers}", fix="correct its config.json"
        )
    image_settings, video_settings = load_vision_settings(path)
    return Pairing(num_blocks, precision, path, image_settings, video_settings)


def _read(files: list[Path]) -> dict[str, torch.Tensor]:
    """All weights, views of the files, with the host's marks for quantised ones."""
    weights: dict[str, torch.Tensor] = {}
    for file in files:
        part, metadata = comfy.utils.load_torch_file(str(file), safe_load=True, return_metadata=True)
        part, _ = comfy.utils.convert_old_quants(part, model_prefix="", metadata=metadata)
        weights |= part
    return weights


def _released(weights: dict[str, torch.Tensor], *, disable_dynamic: bool) -> comfy.sd.CLIP:
    """Qwen3-VL-8B by the host's own loader, which knows it by the names of the model hub."""
    named = {_hub_key(name): weights.pop(name) for name in list(weights)}
    return comfy.sd.load_text_encoder_state_dicts(
        [named],
        embedding_directory=folder_paths.get_folder_paths("embeddings"),
        clip_type=comfy.sd.CLIPType.WAN,  # any that has no use of its own for this model
        disable_dynamic=disable_dynamic,
    )


def _hub_key(name: str) -> str:
    renamed = model_key(name)
    if renamed is None:
        return name.removeprefix("model.")
    return f"model.{renamed}" if renamed.startswith(("language_model.", "visual.")) else name


def _unfit(path: Path, sizes: QwenSizes, error: Exception) -> WeightsError:
    first = next(iter(str(error).splitlines()[1:2] or [str(error)])).strip()
    return WeightsError(
        f"{path}, a Qwen3-VL of {sizes.num_layers} layers whose weights do not fit ({type(error).__name__}: {first})",
        expected="weights and config.json of one model",
        fix="download file or folder again",
    )
