"""Qwen3-VL from disk: a Hugging Face folder, or the one safetensors file that artists have.

The model is built on the meta device, then filled tensor by tensor from the memory-mapped files, so memory never holds
two copies. The language model's head is dropped. Every missing, unexpected or mis-shaped key is named.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..config.model import parse_rope_precision
from ..errors import MissingExtraError, WeightsError
from ..weights.checkpoint import Checkpoint
from ..weights.checks import shortened, wrong_model
from ..weights.detect import read_config_file
from ..weights.filling import fill_model
from ..weights.identify import ModelKind
from ..weights.key_maps import unique_sources
from ..weights.packing import with_packings
from ..weights.reading import open_checkpoint

if TYPE_CHECKING:
    from transformers import Qwen3VLConfig, Qwen3VLModel

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

QUANTISATION_MARKS = ("weight_scale", "scale_weight", "comfy_quant", "scaled_fp8", "input_scale", "qweight", "absmax")
"""Endings of what files keep beside the weight of a quantised layer, or in its place."""

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
    rope_precision = parse_rope_precision(rope_precision)
    checkpoint, values = open_qwen(path, config=config)
    model = build_empty(values)
    fill(model, checkpoint, dtype=dtype, device=device)
    if rope_precision == "bf16":
        round_rope(model)
    return model.eval()


def open_qwen(path: Path, *, config: Path | None = None) -> tuple[Checkpoint, Mapping[str, Any]]:
    """Open weights and configuration without reading tensors, and refuse any other model by what it seems to be.

    Args:
        path: See `load_qwen`.
        config: See `load_qwen`.

    Returns:
        The weights, and the values of the `config.json`.

    Raises:
        WeightsError: The files are missing, damaged or of another model.
    """
    checkpoint = open_checkpoint(path)
    # What the weights are says more than what a config.json lacks; where they say nothing, it is asked first.
    if checkpoint.kind not in {ModelKind.QWEN3_VL, ModelKind.UNKNOWN}:
        raise _wrong_mllm(checkpoint)
    folder = path if path.is_dir() else path.parent
    values = read_config(config or folder / "config.json", needed=config is not None or path.is_dir())
    if checkpoint.kind is ModelKind.UNKNOWN:
        raise _wrong_mllm(checkpoint)
    return checkpoint, values


def _wrong_mllm(checkpoint: Checkpoint) -> WeightsError:
    return wrong_model(checkpoint, expected="Qwen3-VL with its vision tower", fix="give Qwen3-VL-8B-Instruct")


def read_config(path: Path, *, needed: bool) -> Mapping[str, Any]:
    """Values of a `config.json`; those of Qwen3-VL-8B where there is none and none is needed.

    Raises:
        WeightsError: It is missing though needed, cannot be read, or is another model's.
    """
    if not path.is_file():
        if not needed:
            return QWEN3_VL_8B
        raise WeightsError(f"no {path.name} in {path.parent}", expected="it beside the weights", fix="copy it there")
    values = read_config_file(path)
    if values.get("model_type") != QWEN3_VL_8B["model_type"]:
        raise WeightsError(
            f"a model of type {values.get('model_type')!r} in {path.parent}",
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


def fill(model: nn.Module, checkpoint: Checkpoint, *, dtype: torch.dtype, device: torch.device) -> None:
    """Give a model on the meta device its weights, after checking every name and shape.

    Args:
        model: Its parameters are replaced.
        checkpoint: On the CPU, tensors that need no cast stay in its memory map.
        dtype: Of the weights.
        device: Of weights and tables.

    Raises:
        WeightsError: The model is quantised in an unknown form, or a weight is missing, unexpected, mis-shaped, not
            finite or there under two names.
    """
    checkpoint = with_packings(checkpoint)
    marks = [name for name in checkpoint if name.endswith(QUANTISATION_MARKS)]
    if marks:
        raise WeightsError(
            f"{checkpoint.path}, a quantised model of a form unknown here ({shortened(marks)})",
            expected="Qwen3-VL in bf16, fp16 or fp32, or quantised as ComfyUI does it, or GGUF",
            fix="use the unquantised file, or ComfyUI's own encoder, which may read this one",
        )
    sources = unique_sources({in_file: model_key(in_file) for in_file in checkpoint})
    fill_model(
        model,
        checkpoint,
        sources,
        dtype=dtype,
        device=device,
        fix="check that this is a Qwen3-VL with vision tower; put the config.json of other sizes beside it",
    )
    model.requires_grad_(False)
    for _, module in _table_owners(model):
        module.to(device)


def _import_qwen() -> tuple[type[Qwen3VLConfig], type[Qwen3VLModel]]:
    try:
        from transformers import Qwen3VLConfig, Qwen3VLModel
    except ImportError as error:
        raise MissingExtraError(
            "transformers>=4.57", "reading prompts with Qwen3-VL", fix="pip install 'transformers>=4.57'"
        ) from error
    return Qwen3VLConfig, Qwen3VLModel
