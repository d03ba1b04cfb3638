"""LoRA files of every naming on a LoomVideo model, with a word about what of them counts and what does not."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import comfy.lora
import folder_paths
import torch
from comfy import weight_adapter
from torch import Tensor, nn

from ....loom_core.config.model import DiTConfig
from ....loom_core.errors import WeightsError
from ....loom_core.models.dit import LoomDiT
from ....loom_core.weights.checkpoint import Checkpoint
from ....loom_core.weights.checks import shortened, wrong_model
from ....loom_core.weights.lora_names import LoraModules, lora_modules, stored_alphas
from ....loom_core.weights.reading import open_checkpoint
from ..sampling.checks import config_of
from .files import stored_tensors

FOLDER = "loras"
"""The host's name of the folder."""
_IN_HOST = "diffusion_model."
"""Prefix of the DiT's weights in the host's model."""
_ALWAYS_READ = (".alpha", ".dora_scale", ".diff", ".diff_b", ".set_weight", ".w_norm", ".b_norm", ".reshape_weight")
"""Endings that the host reads beside those of its adapters."""


@dataclass(frozen=True)
class LoraResult:
    """A MODEL with a LoRA on it.

    Args:
        model: The host's model patcher.
        about: What of the file was applied and what was not, in one line.
    """

    model: Any
    about: str


def offered_loras() -> list[str]:
    """What the loader's list shows."""
    return list(folder_paths.get_filename_list(FOLDER))


def apply_lora(model: Any, path: Path, strength: float) -> LoraResult:
    """A copy of a MODEL with a LoRA file on it.

    Args:
        model: The host's model patcher of a LoomVideo model.
        path: The file, in any naming.
        strength: Factor of its changes.

    Raises:
        WeightsError: The file is damaged or unsafe, changes no weight of the model, or was made for a model of another
            width; or the model is no LoomVideo.
    """
    config_of(model)
    checkpoint = open_checkpoint(path)
    weights = {name.removeprefix(_IN_HOST): name for name in model.model.state_dict() if name.startswith(_IN_HOST)}
    modules = lora_modules(checkpoint, weights)
    tensors = _with_alphas(stored_tensors(checkpoint), modules, checkpoint.metadata)
    key_map = {module: weights[weight] for module, weight in modules.weights.items()}
    patches = comfy.lora.load_lora(tensors, key_map, log_missing=False)
    if not patches:
        raise _matches_nothing(checkpoint)
    _check_shapes(patches, model, path)
    patched = model.clone()
    tables = {key: patch for key, patch in patches.items() if _is_table(key)}
    patched.add_patches({key: patch for key, patch in patches.items() if key not in tables}, strength)
    _patch_tables(patched, tables, strength)
    return LoraResult(patched, _describe(path, checkpoint, modules, patches))


def _with_alphas(tensors: dict[str, Tensor], modules: LoraModules, metadata: Mapping[str, str]) -> dict[str, Tensor]:
    """The tensors, with alphas that diffusers keeps in the metadata written where the host looks for them."""
    alphas = stored_alphas(modules, metadata)
    return {f"{module}.alpha": torch.tensor(alpha) for module, alpha in alphas.items()} | tensors


def _matches_nothing(checkpoint: Checkpoint) -> WeightsError:
    return wrong_model(
        checkpoint,
        expected=f"a LoRA for LoomVideo or Wan 2.2 TI2V-5B; none of its {len(checkpoint)} tensors changes this model",
        fix="choose one that was made for this model",
    )


def _check_shapes(patches: Mapping[Any, Any], model: Any, path: Path) -> None:
    """Refuse changes of other sizes than the weights: the host would log each and go on without it."""
    config = config_of(model)
    expected = {f"{_IN_HOST}{name}": shape for name, shape in _shapes_of(config).items()}
    wrong = [
        f"{key.removeprefix(_IN_HOST)} ({found[0]} x {found[1]}, here {expected[key][0]} x {expected[key][1]})"
        for key, patch in patches.items()
        if (found := _size_of(patch)) is not None and found != expected[key]
    ]
    if wrong:
        raise WeightsError(
            f"{path.name}, {len(wrong)} of whose {len(patches)} changes have another size than the weight: {wrong[0]}",
            expected="a LoRA for a model of this width (LoomVideo, or Wan 2.2 TI2V-5B; not 1.3B or 14B)",
            fix="choose one that was made for this model",
        )


def _shapes_of(config: DiTConfig) -> dict[str, tuple[int, int]]:
    """Rows and columns of every weight, those that a host keeps quantised included."""
    state = LoomDiT(config, device="meta").state_dict()
    return {name: _rows_and_columns(tensor) for name, tensor in state.items()}


def _rows_and_columns(tensor: Tensor) -> tuple[int, int]:
    return (tensor.shape[0], tensor.numel() // tensor.shape[0])


def _size_of(patch: Any) -> tuple[int, int] | None:
    """Rows and columns of what a patch changes; None where that cannot be told from its parts."""
    if isinstance(patch, tuple):
        return _rows_and_columns(patch[1][0])
    parts = patch.weights
    if isinstance(patch, weight_adapter.LoRAAdapter) and parts[3] is None and parts[5] is None:
        return (parts[0].shape[0], parts[1].flatten(1).shape[1])
    if isinstance(patch, weight_adapter.LoHaAdapter) and parts[5] is None:
        return (parts[0].shape[0], parts[1].flatten(1).shape[1])
    if isinstance(patch, weight_adapter.LoKrAdapter) and parts[7] is None:
        one, other = _factor_size(parts[0], parts[3:5]), _factor_size(parts[1], parts[5:7])
        return (one[0] * other[0], one[1] * other[1])
    return None


def _factor_size(whole: Tensor | None, low_rank: Sequence[Tensor]) -> tuple[int, int]:
    """Rows and columns of a factor that is given whole or as a product."""
    first, last = low_rank if whole is None else (whole, whole)
    return (first.shape[0], last.flatten(1).shape[1])


def _is_table(key: Any) -> bool:
    """Whether a patch is of a raw parameter (a modulation table), which the host does not patch."""
    return isinstance(key, str) and not key.endswith((".weight", ".bias"))


def _patch_tables(patched: Any, tables: Mapping[str, Any], strength: float) -> None:
    """Put changed modulation tables in place of the model's own, for this MODEL alone."""
    for key, patch in tables.items():
        table = patched.get_model_object(key)
        changes = [(strength, patch, 1.0, None, None)]
        changed = comfy.lora.calculate_weight(changes, table.detach().to("cpu", torch.float32, copy=True), key)
        patched.add_object_patch(key, nn.Parameter(changed.to(table.dtype), requires_grad=False))


def _describe(path: Path, checkpoint: Checkpoint, modules: LoraModules, patches: Mapping[Any, Any]) -> str:
    """One line for the node; what is left out is listed in the log."""
    read = {key for patch in patches.values() for key in getattr(patch, "loaded_keys", ())}
    read |= {f"{module}{ending}" for module in modules.weights for ending in _ALWAYS_READ}
    left_out = [key for key in checkpoint if key not in read and key not in modules.dead]
    about = f"{path.name}: {len(patches)} weights changed"
    if modules.dead:
        about += f"; {len(modules.dead)} tensors of Wan's text embedder, which LoomVideo does without, left out"
    if left_out:
        about += f"; {len(left_out)} of {len(checkpoint)} tensors are not for this model and are left out"
        logging.warning("LoomVideo: of %s these are left out: %s", path.name, shortened(left_out))
    logging.info("LoomVideo: %s", about)
    return about
