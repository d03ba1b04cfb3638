"""Loading a LoomVideo model through the host: number formats, patcher, and what the host needs to load it again."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import comfy.model_patcher
import comfy.utils
import torch
from comfy import model_management

from ....loom_core.bundle import BUILT_IN as BUILT_IN_FOLDER
from ....loom_core.config.model import ROPE_PRECISIONS, DiTConfig, parse_rope_precision
from ....loom_core.errors import ConfigError
from ....loom_core.vae.linear import LinearCodec
from ..files import BUILT_IN, path_of
from .config import LoomVideoConfig
from .files import DiTFile, read_dit

FOLDER = "diffusion_models"
"""The host's name of the folder."""
DIT_FILE, CODEC_FILE = "dit.safetensors", "codec.safetensors"
"""Of the built-in model."""
SUFFIXES = (".safetensors", ".sft", ".pth", ".pt")
"""Of files that the loader offers."""
FAST_SUFFIX = "_fast"
WEIGHT_DTYPES: Mapping[str, torch.dtype | None] = MappingProxyType(
    {
        "default": None,
        "fp8_e4m3fn": torch.float8_e4m3fn,
        "fp8_e4m3fn_fast": torch.float8_e4m3fn,
        "fp8_e5m2": torch.float8_e5m2,
        "bf16": torch.bfloat16,
        "fp16": torch.float16,
        "fp32": torch.float32,
    }
)
"""What weights can be stored as; the first lets the host choose. The fast one multiplies in 8 bits, too."""
AUTO = "auto"
ROPE_CHOICES = (AUTO, *ROPE_PRECISIONS)


@dataclass(frozen=True)
class ModelOptions:
    """How a model is loaded.

    Args:
        weight_dtype: One of `WEIGHT_DTYPES`.
        integer_timesteps: Tell the model whole timesteps, as the official scheduler does.
        rope_precision: One of `ROPE_CHOICES`; "auto" takes what the weights were trained with.
    """

    weight_dtype: str = "default"
    integer_timesteps: bool = True
    rope_precision: str = AUTO

    def __post_init__(self) -> None:
        """Check the names.

        Raises:
            ConfigError: One is unknown, as in a graph of another version.
        """
        if self.weight_dtype not in WEIGHT_DTYPES:
            expected = f"one of {', '.join(WEIGHT_DTYPES)}"
            raise ConfigError(f"weight_dtype {self.weight_dtype!r}", expected=expected, fix="choose default")
        if self.rope_precision != AUTO:
            parse_rope_precision(self.rope_precision)


def dit_path(name: str) -> Path:
    """Where a choice of the loader's list lies.

    Args:
        name: As `files.offered` showed it.

    Raises:
        WeightsError: It is gone.
    """
    return BUILT_IN_FOLDER / DIT_FILE if name == BUILT_IN else path_of(name, [FOLDER])


def load_model(path: str, options: ModelOptions, *, disable_dynamic: bool = False) -> Any:
    """The host's MODEL of a file.

    Args:
        path: The file.
        options: How it is loaded.
        disable_dynamic: Of the host's protocol: without its paging of weights.

    Raises:
        WeightsError: The file is damaged, unsafe, of another model, or lacks weights.
    """
    file = read_dit(Path(path))
    model_config = _model_config(file, options, is_built_in=Path(path).is_relative_to(BUILT_IN_FOLDER))
    model = model_config.get_model(file.tensors)
    # read at call time: the host puts another class there when it starts
    patcher_class = comfy.model_patcher.ModelPatcher if disable_dynamic else comfy.model_patcher.CoreModelPatcher
    offload_device = model_management.unet_offload_device()
    patcher = patcher_class(model, load_device=model_management.get_torch_device(), offload_device=offload_device)
    if not model_management.is_device_cpu(offload_device):
        model.to(offload_device)
    model.load_model_weights(file.tensors, "", assign=patcher.is_dynamic())
    patcher.cached_patcher_init = (load_model, (path, options))
    return patcher


def _model_config(file: DiTFile, options: ModelOptions, *, is_built_in: bool) -> LoomVideoConfig:
    """The host's configuration of a file's model, number formats included."""
    model_config = LoomVideoConfig(
        _with_rope(file.config, options.rope_precision),
        integer_timesteps=options.integer_timesteps,
        colours=LinearCodec.load(BUILT_IN_FOLDER / CODEC_FILE).colour_map() if is_built_in else None,
    )
    supported, load_device = model_config.supported_inference_dtypes, model_management.get_torch_device()
    chosen = WEIGHT_DTYPES[options.weight_dtype]
    if file.is_quantised:
        model_config.quant_config = comfy.utils.detect_layer_quantization(file.tensors, "")
        if chosen is not None:
            logging.warning("LoomVideo: weight_dtype %s is left aside, the file is quantised", options.weight_dtype)
            chosen = None
    stored = None if file.is_quantised else comfy.utils.weight_dtype(file.tensors)
    dtype = chosen or model_management.unet_dtype(
        model_params=comfy.utils.calculate_parameters(file.tensors), supported_dtypes=supported, weight_dtype=stored
    )
    manual_cast = model_management.unet_manual_cast(None if file.is_quantised else dtype, load_device, supported)
    model_config.set_inference_dtype(dtype, manual_cast)
    if options.weight_dtype.endswith(FAST_SUFFIX):
        model_config.optimizations["fp8"] = True
    return model_config


def _with_rope(config: DiTConfig, choice: str) -> DiTConfig:
    return config if choice == AUTO else replace(config, rope_precision=parse_rope_precision(choice))


def describe(patcher: Any) -> str:
    """A MODEL of ours in one line: its size and number formats.

    Args:
        patcher: The host's, from `load_model`.
    """
    model, config = patcher.model, patcher.model.loom_config
    stored, computed = (str(dtype).removeprefix("torch.") for dtype in (model.get_dtype(), model.get_dtype_inference()))
    formats = "quantised" if model.model_config.quant_config else stored
    formats += f", computed in {computed}" if formats != computed else ""
    return f"{config.num_layers} blocks of width {config.hidden_size}, {formats}"
