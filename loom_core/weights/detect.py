"""The sizes of a DiT, read off its weights.

All sizes but the heads' width follow from shapes. That, and what has no trace in shapes (eps, the rotary tables'
precision), comes from the caller, the file's metadata or a `config.json` beside it, and is checked against the shapes.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from ..config.model import LOOMVIDEO_5B, DiTConfig
from ..errors import ConfigError, WeightsError
from ..geometry import PATCH
from .checkpoint import Checkpoint
from .key_maps import CONFIG_TENSOR, strip_prefix

CONFIG_KEY = "config"
"""Metadata entry in which converted files carry `DiTConfig.to_json()`."""
FORMAT_KEY, FORMAT_VERSION_KEY = "format", "format_version"
FORMAT = "loomvideo-dit"
FORMAT_VERSION = 1
"""Of converted files. A newer one may mean other things by the same names, so it is refused."""
CONFIG_FILE = "config.json"
USUAL_HEAD_DIM = 128
"""Of every published Wan model."""

_PATCH_AREA = PATCH * PATCH
WITNESSES = {
    "hidden_size": (("patch_embedding.weight", 0, 1), ("patch_embedding.bias", 0, 1), ("time_embedding.2.bias", 0, 1)),
    "in_channels": (("patch_embedding.weight", 1, 1), ("source_patch_embedding.weight", 1, 1)),
    "out_channels": (
        ("head.head.weight", 0, _PATCH_AREA),
        ("head.head.bias", 0, _PATCH_AREA),
        ("patch_embedding.weight", 1, 1),
    ),
    "ffn_dim": (("blocks.0.ffn.0.weight", 0, 1), ("blocks.0.ffn.0.bias", 0, 1), ("blocks.0.ffn.2.weight", 1, 1)),
    "time_embed_dim": (("time_embedding.0.weight", 1, 1),),
    "mllm_dim": (("mllm_embedder.norm.weight", 0, 1), ("mllm_embedder.linear_1.weight", 1, 1)),
}
"""Field of `DiTConfig` -> (weight, axis of its shape, what to divide by) that show it."""

_SETTLED_BY_DIFFUSERS: tuple[str, ...] = (
    "hidden_size",
    "num_heads",
    "head_dim",
    "num_layers",
    "ffn_dim",
    "in_channels",
    "out_channels",
    "time_embed_dim",
    "eps",
)
_FROM_FILE_ONLY = ("has_source", "has_projector")
_CHECKPOINT_SUBFOLDERS = ("latest", "ema")
_BLOCK = re.compile(r"blocks\.(\d+)\.")


def detect_config(checkpoint: Checkpoint, config_hint: DiTConfig | Mapping[str, Any] | None = None) -> DiTConfig:
    """The configuration that a DiT checkpoint was made with.

    Args:
        checkpoint: Of a DiT, in any naming.
        config_hint: Overrides what the file says of itself: a configuration, or the content of a `config.json`.

    Raises:
        WeightsError: It is no DiT, contradicts its configuration, was written by a newer version, or the heads' width
            cannot be known.
    """
    _check_format(checkpoint)
    native = checkpoint.native()
    sizes = sizes_of(native)
    claims = (
        _claims_of_hint(config_hint)
        or _claims_of_metadata(checkpoint)
        or _claims_of_tensor(checkpoint)
        or _claims_beside(checkpoint)
    )
    _check_claims(claims, sizes, checkpoint.path)
    hidden_size = sizes["hidden_size"]
    head_dim = claims.get("head_dim") or _usual_head_dim(hidden_size, checkpoint.path)
    unseen = {name: value for name, value in claims.items() if name not in sizes}
    try:
        config = DiTConfig(**(unseen | sizes | {"head_dim": head_dim, "num_heads": hidden_size // head_dim}))
    except ConfigError as error:
        raise WeightsError(f"{checkpoint.path}, whose configuration makes no sense ({error})") from error
    return config if "rope_precision" in claims else _with_trained_rope(config)


def claims_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """What a `config.json` says of a DiT, as fields of `DiTConfig`.

    Args:
        content: In our own form, diffusers' (`WanTransformer3DModel`), Wan's own, or with one of these under "dit".

    Returns:
        The fields it settles; none for the configuration of something else.
    """
    dit = content.get("dit", content)
    if not isinstance(dit, Mapping):
        return {}
    if _is_our_form(dit):
        return {field.name: dit[field.name] for field in fields(DiTConfig) if field.name in dit}
    if {"num_attention_heads", "attention_head_dim", "ffn_dim", "freq_dim", "in_channels", "num_layers"} <= set(dit):
        config = DiTConfig.from_diffusers(dit, mllm_dim=content.get("und_dim") or 1)
        settled = _SETTLED_BY_DIFFUSERS + (("mllm_dim",) if "und_dim" in content else ())
        return {name: getattr(config, name) for name in settled}
    if {"dim", "num_heads", "ffn_dim", "num_layers"} <= set(dit):
        claims = {"hidden_size": dit["dim"], "head_dim": dit["dim"] // dit["num_heads"]}
        return claims | {name: dit[name] for name in ("num_heads", "ffn_dim", "num_layers", "eps") if name in dit}
    return {}


def read_config_file(path: Path) -> dict[str, Any]:
    """The content of a `config.json`.

    Raises:
        WeightsError: It is no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{path}, which cannot be read as a configuration ({error})", expected="JSON", fix="correct or remove it"
        ) from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path}, a JSON {type(content).__name__}", expected="an object", fix="correct or remove it")
    return content


def sizes_of(native: Checkpoint) -> dict[str, Any]:
    """The fields of `DiTConfig` that shapes settle.

    Args:
        native: A DiT under Wan-native names. It may lack weights: a size is what most of those that show it say.

    Raises:
        WeightsError: It is no DiT, or lacks all weights that show a needed size.
    """
    shapes = native.shapes
    patch = tuple(shapes.get("patch_embedding.weight", ()))[2:]
    if patch and patch != DiTConfig.patch_size:
        raise WeightsError(
            f"{native.path}, with patches of {'x'.join(map(str, patch))}",
            expected=f"patches of {'x'.join(map(str, DiTConfig.patch_size))} (Wan)",
            fix="give the file with the DiT's weights (gen_model)",
        )
    blocks = [int(match.group(1)) for match in map(_BLOCK.match, shapes) if match]
    sizes = {
        name: Counter(values).most_common(1)[0][0]
        for name, witnesses in WITNESSES.items()
        if (values := [shapes[key][axis] // unit for key, axis, unit in witnesses if len(shapes.get(key, ())) > axis])
    }
    if not blocks or not {"hidden_size", "ffn_dim"} <= set(sizes):
        raise WeightsError(
            f"{native.path}, which is {native.kind.value} and does not show the sizes of one",
            expected="a LoomVideo DiT",
            fix="give the file with the DiT's weights (gen_model)",
        )
    return sizes | {
        "num_layers": 1 + max(blocks),
        "has_source": any(name.startswith("source_patch_embedding.") for name in shapes),
        "has_projector": any(name.startswith("mllm_embedder.") for name in shapes),
    }


def _claims_of_hint(hint: DiTConfig | Mapping[str, Any] | None) -> dict[str, Any]:
    if isinstance(hint, DiTConfig):
        return asdict(hint)
    if hint is None:
        return {}
    claims = claims_of(hint)
    if not claims:
        raise WeightsError(
            f"a configuration with {sorted(hint)[:8]}",
            expected="the configuration of a DiT: its width, heads, blocks ...",
            fix="give the config.json of the model",
        )
    return claims


def _claims_of_metadata(checkpoint: Checkpoint) -> dict[str, Any]:
    text = checkpoint.metadata.get(CONFIG_KEY)
    if text is None:
        return {}
    try:
        content = json.loads(text)
    except ValueError as error:
        raise WeightsError(
            f"{checkpoint.path}, whose metadata {CONFIG_KEY!r} is no JSON", fix="convert the checkpoint again"
        ) from error
    is_ours = checkpoint.metadata.get(FORMAT_KEY) == FORMAT
    if not isinstance(content, dict):
        if is_ours:
            raise WeightsError(
                f"{checkpoint.path}, whose metadata {CONFIG_KEY!r} is a JSON {type(content).__name__}",
                expected="an object",
                fix="convert the checkpoint again",
            )
        return {}
    if is_ours or _is_our_form(content):
        _check_our_form(content, checkpoint.path)
    return claims_of(content)


def _claims_of_tensor(checkpoint: Checkpoint) -> dict[str, Any]:
    """What a file says that ComfyUI saved."""
    name = next((key for key in checkpoint if strip_prefix(key)[1] == CONFIG_TENSOR), None)
    if name is None:
        return {}
    try:
        content = dict(json.loads(bytes(checkpoint.tensor(name).tolist())))
    except (ValueError, TypeError) as error:
        raise WeightsError(
            f"{checkpoint.path}, whose configuration {name!r} cannot be read ({error})",
            expected="a JSON object, a byte an element",
            fix="save the model again",
        ) from error
    _check_our_form(content, checkpoint.path)
    return claims_of(content)


def _is_our_form(content: Mapping[str, Any]) -> bool:
    """Whether it seems to be what `DiTConfig.to_json` writes."""
    return {"hidden_size", "head_dim", "ffn_dim"} <= set(content)


def _check_our_form(content: Mapping[str, Any], path: Path) -> None:
    """Refuse a configuration of ours that this version does not understand in full."""
    try:
        DiTConfig.from_mapping(content)
    except ConfigError as error:
        raise WeightsError(
            f"{path}, whose metadata has {error.found}", expected=error.expected, fix=error.fix
        ) from error


def _check_format(checkpoint: Checkpoint) -> None:
    """Refuse a converted file that a newer version wrote."""
    if checkpoint.metadata.get(FORMAT_KEY) != FORMAT:
        return
    version = checkpoint.metadata.get(FORMAT_VERSION_KEY, "1")
    if not version.isdecimal() or int(version) > FORMAT_VERSION:
        raise WeightsError(
            f"{checkpoint.path}, of format version {version!r}",
            expected=f"at most version {FORMAT_VERSION}",
            fix="update LoomVideo",
        )


def _claims_beside(checkpoint: Checkpoint) -> dict[str, Any]:
    folder = checkpoint.files[0].parent
    folders = (folder, folder.parent) if folder.name in _CHECKPOINT_SUBFOLDERS else (folder,)
    for candidate in (folder / CONFIG_FILE for folder in folders):
        if candidate.is_file():
            return claims_of(read_config_file(candidate))
    return {}


def _check_claims(claims: Mapping[str, Any], sizes: Mapping[str, Any], path: Path) -> None:
    wrong = [
        f"{name} {sizes[name]} (the configuration says {value})"
        for name, value in claims.items()
        if name in sizes and name not in _FROM_FILE_ONLY and sizes[name] != value
    ]
    if wrong:
        raise WeightsError(
            f"{path}, with {', '.join(wrong)}",
            expected="weights that fit their configuration",
            fix="use the configuration of this very model, or none",
        )


def _usual_head_dim(hidden_size: int, path: Path) -> int:
    if hidden_size % USUAL_HEAD_DIM == 0:
        return USUAL_HEAD_DIM
    raise WeightsError(
        f"{path}, {hidden_size} wide, from which the width of a head cannot be told",
        expected=f"a multiple of {USUAL_HEAD_DIM}, or a configuration",
        fix="put the model's config.json beside it or name it (--config)",
    )


def _with_trained_rope(config: DiTConfig) -> DiTConfig:
    # parity: the released model ran and was trained with rotary tables in bfloat16; every other model is exact.
    released = replace(LOOMVIDEO_5B, has_source=config.has_source)
    return released if replace(config, rope_precision=released.rope_precision) == released else config
