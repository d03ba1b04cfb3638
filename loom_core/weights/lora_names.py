"""Which weight a LoRA file means by the name of a module, in all the ways in which trainers name them.

They differ in the model's own naming (Wan-native, diffusers), in prefixes, and in whether parts are joined by dots or
by underscores. Flattened to underscores and freed of prefixes, a name of the DiT is unique: one table knows them all.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from .key_maps import DEAD_MODULES, PREFIXES, to_diffusers

LORA_PREFIXES = (
    *PREFIXES,
    "base_model.model.",  # peft
    "unet.",
    "pipe.dit.",  # DiffSynth
    "dit.",
    "model.",
    "lora_unet_",  # kohya, musubi
    "lora_transformer_",  # OneTrainer
    "lycoris_",
)
"""Prefixes that may stand before a module in a LoRA file, also several of them, and who writes them."""

_HOLDS_ADAPTER_SETTINGS = "lora_adapter_metadata"
"""Metadata entry in which diffusers keeps peft's settings, as JSON."""

_WEIGHT = ".weight"
_OPTIONAL = ".0"
"""Of `to_out.0`, which some trainers leave out."""


@dataclass(frozen=True)
class LoraModules:
    """What the names of a LoRA file mean.

    Args:
        weights: Module as the file names it -> Wan-native name of the weight that it changes.
        unknown: Names in the file that belong to no weight of the model.
        dead: Names in the file that belong to the T5 text embedder of Wan, which LoomVideo does without.
    """

    weights: dict[str, str]
    unknown: tuple[str, ...]
    dead: tuple[str, ...]


def lora_modules(keys: Iterable[str], weights: Collection[str]) -> LoraModules:
    """Tell what each name of a LoRA file changes.

    Args:
        keys: Every name in the file, such as `lora_unet_blocks_0_self_attn_q.lora_down.weight`.
        weights: Wan-native names of the model's weights.
    """
    table = _table(weights)
    found: dict[str, str] = {}
    unknown, dead = [], []
    for key in keys:
        modules = [module for module in _modules(key) if _flat(module) in table]
        if modules:
            found[modules[0]] = table[_flat(modules[0])]
        elif any(_flat(key).startswith(_flat(module) + "_") for module in DEAD_MODULES):
            dead.append(key)
        else:
            unknown.append(key)
    return LoraModules(found, tuple(unknown), tuple(dead))


def stored_alphas(modules: LoraModules, metadata: Mapping[str, str]) -> dict[str, float]:
    """Alphas that diffusers keeps in a file's metadata instead of beside its tensors.

    Args:
        modules: Of the file.
        metadata: Of the file.

    Returns:
        Module as the file names it -> alpha, such that alpha / rank is what the change is multiplied by; empty where
        the metadata says nothing of it.
    """
    try:
        settings = json.loads(metadata.get(_HOLDS_ADAPTER_SETTINGS, "{}"))
        found = {str(name).rpartition(".")[2]: value for name, value in settings.items()}
        usual, rank, special = float(found["lora_alpha"]), float(found["r"]), dict(found.get("alpha_pattern") or {})
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}
    factor = rank**0.5 if found.get("use_rslora") else 1.0  # such a one is divided by the rank's root alone
    return {
        module: factor * float(next((own for name, own in special.items() if f".{module}".endswith(f".{name}")), usual))
        for module in modules.weights
    }


def _modules(key: str) -> Iterable[str]:
    """What a key may say is changed, the longest first: everything before one of its dots."""
    while "." in key:
        key = key.rpartition(".")[0]
        yield key


def _table(weights: Collection[str]) -> dict[str, str]:
    """Flat name of a module or parameter, in either naming -> weight."""
    table: dict[str, str] = {}
    for weight in weights:
        module = weight.removesuffix(_WEIGHT)
        official = to_diffusers(module)
        table |= {_flat(name): weight for name in (module, official, official.removesuffix(_OPTIONAL))}
    return table


def _flat(module: str) -> str:
    """A name without prefixes, its parts joined by underscores."""
    flat = module.replace(".", "_").lstrip("_")
    while prefix := next((prefix for prefix in _FLAT_PREFIXES if flat.startswith(prefix)), ""):
        flat = flat.removeprefix(prefix).lstrip("_")
    return flat


_FLAT_PREFIXES = tuple(prefix.replace(".", "_").lstrip("_") for prefix in LORA_PREFIXES)
