"""Quantising a loaded DiT with torchao, PyTorch's own library for it; layers stay, their weights become its tensors.

What it has that our forms lack: products in eight bits, on GPUs that have them, best under torch.compile. Its tensors
are kept nowhere: their safetensors layout is a prototype, and those of its first version can no longer be read. Nor do
they come block by block, since they are no plain pieces of memory.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from ..errors import ConfigError, MissingExtraError
from ..models.dit import LoomDiT
from ..models.quantised import QuantisedLinear
from .quantise import MATRICES

CONFIGS = MappingProxyType(
    {
        "int8-torchao": "Int8WeightOnlyConfig",
        "int8-dynamic-torchao": "Int8DynamicActivationInt8WeightConfig",
    }
)
"""Name on the command line -> its configuration; "dynamic" rounds what comes into a layer too, a scale a token."""
TORCHAO_VERSION = "torchao>=0.18"


def check_name(name: str) -> str:
    """The name of a way, if there is one.

    Raises:
        ConfigError: There is none.
    """
    if name not in CONFIGS:
        raise ConfigError(f"--quantise {name}", expected=" or ".join(CONFIGS), fix="leave it out")
    return name


def quantise_loaded(model: LoomDiT, name: str, *, device: torch.device) -> None:
    """Quantise the matrices of the blocks, one after another, and bring the model to where it computes.

    Args:
        model: On the CPU, its weights plain; changed.
        name: A key of `CONFIGS`.
        device: Where it computes.

    Raises:
        ConfigError: The name is unknown, or the weights are quantised already.
        MissingExtraError: torchao is not installed.
    """
    config_name = CONFIGS[check_name(name)]
    if any(isinstance(layer, QuantisedLinear) for layer in model.modules()):
        raise ConfigError(
            f"--quantise {name} with weights that are quantised already",
            expected="weights in bf16, fp16 or fp32",
            fix="leave --quantise out, or give the file that they were made of",
        )
    try:
        from torchao import quantization
    except ImportError as error:
        raise MissingExtraError(TORCHAO_VERSION, f"--quantise {name}", fix="pip install torchao") from error

    def is_matrix(layer: nn.Module, layer_name: str) -> bool:
        return isinstance(layer, nn.Linear) and MATRICES.fullmatch(f"{layer_name}.weight") is not None

    config: Any = getattr(quantization, config_name)()
    quantization.quantize_(model, config, filter_fn=is_matrix, device=device)
