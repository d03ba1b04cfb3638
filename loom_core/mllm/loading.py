"""Qwen3-VL from disk: a Hugging Face folder, or the one safetensors file that artists have.

The model is built on the meta device, then filled tensor by tensor from the memory-mapped files, so memory never holds
two copies. The language model's head is dropped. Every missing, unexpected or mis-shaped key is named.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError, MissingExtraError, WeightsError

if TYPE_CHECKING:
    from transformers import Qwen3VLConfig, Qwen3VLModel

ROPE_PRECISIONS = ("exact", "bf16")

KEY_PREFIXES = (
    ("model.language_model.", "language_model."),
    ("model.visual.", "visual."),
    ("language_model.", "language_model."),
    ("visual.", "visual."),
    ("model.", "language_model."),
)
"""Beginning of a key on disk -> in `Qwen3VLModel`; the first that fits. The last row is ComfyUI's own naming."""

DROPPED_PREFIXES = ("lm_head.", "model.lm_head.")
"""The head that writes words; nothing here reads it."""

_QUANTISATION_MARKS = ("weight_scale", "scale_weight", "comfy_quant", "scaled_fp8", "input_scale", "qweight", "absmax")

_SHOWN_KEYS = 6

QWEN3_VL_8B: Mapping[str, Any] = {
    "model_type": "qwen3_vl",
    "image_token_id": 151655,
    "video_token_id": 151656,
    "vision_start_token_id": 151652,
    "vision_end_token_id": 151653,
    "tie_word_embeddings": False,
    "text_config": {
        "model_type": "qwen3_vl_text",
        "vocab_size": 151936,
        "hidden_size": 4096,
        "intermediate_size": 12288,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "hidden_act": "silu",
        "max_position_embeddings": 262144,
        "rms_norm_eps": 1e-6,
        "attention_bias": False,
        "rope_theta": 5_000_000,
        "rope_scaling": {"mrope_interleaved": True, "mrope_section": [24, 20, 20], "rope_type": "default"},
    },
    "vision_config": {
        "model_type": "qwen3_vl",
        "depth": 27,
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_heads": 16,
        "hidden_act": "gelu_pytorch_tanh",
        "in_channels": 3,
        "patch_size": 16,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "out_hidden_size": 4096,
        "num_position_embeddings": 2304,
        "deepstack_visual_indexes": [8, 16, 24],
    },
}
"""Source: `config.json` of Qwen3-VL-8B-Instruct."""


def load_qwen(
    path: Path,
    *,
    dtype: torch.dtype,
    device: torch.device,
    config: Path | None = None,
    rope_precision: str = "exact",
) -> Qwen3VLModel:
    """Qwen3-VL without its head, in evaluation mode.

    Args:
        path: A Hugging Face folder (one file or shards), or one safetensors file.
        dtype: Of the weights.
        device: Where they go.
        config: A `config.json`; None takes the one beside the weights, or Qwen3-VL-8B's for a single file without one.
        rope_precision: "exact", or "bf16" to round the rotary frequencies as a model cast to bfloat16 as a whole does.

    Raises:
        WeightsError: The files are missing, damaged, quantised, or of another model.
        ConfigError: `rope_precision` is unknown.
        MissingExtraError: transformers is not installed, or too old for Qwen3-VL.
    """
    if rope_precision not in ROPE_PRECISIONS:
        raise ConfigError(f"rope_precision {rope_precision!r}", expected=" or ".join(ROPE_PRECISIONS), fix="use exact")
    files = weight_files(path)
    values = read_config(config or files[0].parent / "config.json", needed=config is not None or path.is_dir())
    model = build_empty(values)
    fill(model, files, dtype=dtype, device=device)
    if rope_precision == "bf16":
        round_rope(model)
    return model.eval()


def weight_files(path: Path) -> list[Path]:
    """The safetensors files of a model.

    Args:
        path: A file, or a folder with `model.safetensors`, an index of shards, or a single safetensors file.

    Raises:
        WeightsError: There are none, or a shard is missing.
    """
    if path.is_file():
        if path.suffix != ".safetensors":
            raise WeightsError(
                f"{path.name} as MLLM", expected="a folder or a .safetensors file", fix="download Qwen3-VL-8B-Instruct"
            )
        return [path]
    if not path.is_dir():
        raise WeightsError(f"nothing at {path}", expected="the weights of Qwen3-VL", fix="check the path")
    index = path / "model.safetensors.index.json"
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise WeightsError(f"{index} that cannot be read ({error})", fix="download the file again") from error
        files = [path / name for name in names]
    else:
        files = sorted(path.glob("*.safetensors"))
        if (path / "model.safetensors") in files:
            files = [path / "model.safetensors"]
    if not files:
        raise WeightsError(
            f"no safetensors file in {path}", expected="the weights of Qwen3-VL", fix="download Qwen3-VL-8B-Instruct"
        )
    absent = [file.name for file in files if not file.is_file()]
    if absent:
        raise WeightsError(f"no {', '.join(absent)} in {path}", expected="every shard", fix="finish the download")
    if len(files) > 1 and not index.is_file():
        raise WeightsError(
            f"{len(files)} safetensors files in {path} and no index",
            expected="model.safetensors, or model.safetensors.index.json that lists the shards",
            fix="add the index, or name one file",
        )
    return files


def read_config(path: Path, *, needed: bool) -> Mapping[str, Any]:
    """Values of a `config.json`; those of Qwen3-VL-8B where there is none and none is needed.

    Raises:
        WeightsError: It is missing though needed, cannot be read, or is another model's.
    """
    if not path.is_file():
        if not needed:
            return QWEN3_VL_8B
        raise WeightsError(f"no {path.name} in {path.parent}", expected="it beside the weights", fix="copy it there")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        kind = values.get("model_type")
    except (ValueError, AttributeError) as error:
        raise WeightsError(f"{path} that cannot be read ({error})", fix="download the file again") from error
    if kind != QWEN3_VL_8B["model_type"]:
        raise WeightsError(
            f"a model of type {kind!r} in {path.parent}",
            expected="Qwen3-VL (model_type 'qwen3_vl')",
            fix="give the folder of Qwen3-VL-8B-Instruct",
        )
    return values


def build_empty(values: Mapping[str, Any]) -> Qwen3VLModel:
    """The model of a configuration, its weights on the meta device, its rotary tables real."""
    config_class, model_class = _import_qwen()
    config: Qwen3VLConfig = config_class(**copy.deepcopy(dict(values)))
    with torch.device("meta"):
        model = model_class(config)
    # Tables are no weights, so no file has them. A twin without layers makes the same ones at no cost.
    twin_values = copy.deepcopy(dict(values))
    twin_values["text_config"] |= {"num_hidden_layers": 0, "vocab_size": 1, "pad_token_id": None}
    twin_values["vision_config"] |= {
        "depth": 0,
        "deepstack_visual_indexes": [],
        "num_position_embeddings": 1,
        "out_hidden_size": 1,
        "spatial_merge_size": 1,
    }
    twin = model_class(config_class(**twin_values))
    for name, module in _table_owners(twin):
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, module)
    return model


def round_rope(model: nn.Module) -> None:
    """Round the rotary frequencies of text and vision through bfloat16, in place.

    parity: the official run casts the whole model, these buffers included, to bfloat16.
    """
    for _, module in _table_owners(model):
        for table in module.buffers(recurse=False):
            table.copy_(table.bfloat16())


def _table_owners(model: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(name, module) for name, module in model.named_modules() if list(module.buffers(recurse=False))]


def model_key(key: str) -> str | None:
    """Name in `Qwen3VLModel` of a key on disk; None for the head, the key itself if no rule knows it."""
    if key.startswith(DROPPED_PREFIXES):
        return None
    for on_disk, in_model in KEY_PREFIXES:
        if key.startswith(on_disk):
            return in_model + key.removeprefix(on_disk)
    return key


def fill(model: nn.Module, files: list[Path], *, dtype: torch.dtype, device: torch.device) -> None:
    """Give a model on the meta device its weights, after checking every name and shape.

    Args:
        model: Its parameters are replaced.
        files: Memory-mapped; on the CPU, tensors that need no cast stay in the map.
        dtype: Of the weights.
        device: Of weights and tables.

    Raises:
        WeightsError: A key is missing, unexpected or mis-shaped, or a file is damaged.
    """
    with ExitStack() as stack:
        found = dict(_mapped_tensors(files, stack))
        _check_keys({key: tuple(entry.get_shape()) for key, (_, entry) in found.items()}, model, file=files[0])
        for key, (get, _) in found.items():
            weight = get().to(device=device, dtype=dtype)
            parent, _, leaf = key.rpartition(".")
            setattr(model.get_submodule(parent), leaf, nn.Parameter(weight, requires_grad=False))
    for _, module in _table_owners(model):
        module.to(device)


def _mapped_tensors(files: list[Path], stack: ExitStack) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """(name in the model, (how to get the tensor, its header entry)) of every tensor but the head's."""
    from safetensors import SafetensorError, safe_open

    for file in files:
        try:
            handle = stack.enter_context(safe_open(file, framework="pt"))
        except (SafetensorError, OSError) as error:
            raise WeightsError(
                f"{file} that cannot be read ({error})", expected="a safetensors file", fix="download it again"
            ) from error
        for key in handle.keys():  # noqa: SIM118 - not a mapping
            name = model_key(key)
            if name is not None:
                yield name, (_getter(handle, key), handle.get_slice(key))


def _getter(handle: Any, key: str) -> Any:
    def get() -> Tensor:
        return handle.get_tensor(key)

    return get


def _check_keys(found: Mapping[str, tuple[int, ...]], model: nn.Module, *, file: Path) -> None:
    wanted = {name: tuple(weight.shape) for name, weight in model.named_parameters()}
    missing = sorted(set(wanted) - set(found))
    unexpected = sorted(set(found) - set(wanted))
    marks = sorted(key for key in unexpected if key.endswith(_QUANTISATION_MARKS))
    if marks:
        raise WeightsError(
            f"a quantised model ({_shown(marks)})",
            expected="Qwen3-VL in bf16, fp16 or fp32",
            fix="use the unquantised file, or ComfyUI's own encoder, which reads this one",
        )
    misshapen = [
        f"{key} {list(found[key])} instead of {list(shape)}"
        for key, shape in wanted.items()
        if key in found and found[key] != shape
    ]
    problems = [
        f"{len(keys)} {what}: {_shown(keys)}"
        for what, keys in (("missing", missing), ("unexpected", unexpected), ("mis-shaped", misshapen))
        if keys
    ]
    if problems:
        raise WeightsError(
            f"{file.name} with keys {'; '.join(problems)}",
            expected="the Qwen3-VL of its config.json (of Qwen3-VL-8B where there is none)",
            fix="check that this is a Qwen3-VL with vision tower; put the config.json of other sizes beside it",
        )


def _shown(keys: list[str]) -> str:
    more = len(keys) - _SHOWN_KEYS
    return ", ".join(keys[:_SHOWN_KEYS]) + (f" and {more} more" if more > 0 else "")


def _import_qwen() -> tuple[type[Qwen3VLConfig], type[Qwen3VLModel]]:
    try:
        from transformers import Qwen3VLConfig, Qwen3VLModel
    except ImportError as error:
        raise MissingExtraError(
            "transformers>=4.57", "reading prompts with Qwen3-VL", fix="pip install 'transformers>=4.57'"
        ) from error
    return Qwen3VLConfig, Qwen3VLModel
