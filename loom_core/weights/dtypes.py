"""What safetensors files and the command line call the number formats."""

from __future__ import annotations

from types import MappingProxyType

import torch

from ..errors import ConfigError, WeightsError

_NAMES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
    "F4": "float4_e2m1fn_x2",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
# Older torch releases lack the newest formats.
DTYPE_OF_NAME = MappingProxyType({name: getattr(torch, attr) for name, attr in _NAMES.items() if hasattr(torch, attr)})
"""torch dtype of a safetensors dtype name. Source: the safetensors format description."""
NAME_OF_DTYPE = MappingProxyType({dtype: name for name, dtype in DTYPE_OF_NAME.items()})
"""The inverse."""

COMPUTE_DTYPES = (torch.bfloat16, torch.float16, torch.float32, torch.float64)
"""What plain layers compute in; in narrower formats weights are only stored."""

CHOICES = MappingProxyType({"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32, "keep": None})
"""What a user may convert to; None keeps every tensor's own dtype."""


def dtype_from_name(name: str) -> torch.dtype:
    """The torch dtype of a safetensors dtype name.

    Raises:
        WeightsError: The format is unknown here.
    """
    if name not in DTYPE_OF_NAME:
        raise WeightsError(
            f"numbers of format {name!r}", expected=f"one of {sorted(DTYPE_OF_NAME)}", fix="update torch"
        )
    return DTYPE_OF_NAME[name]


def dtype_from_choice(choice: str) -> torch.dtype | None:
    """The torch dtype of a user's word, None for "keep".

    Raises:
        ConfigError: No such word.
    """
    if choice not in CHOICES:
        raise ConfigError(f"dtype {choice!r}", expected=f"one of {', '.join(CHOICES)}", fix="bf16 suits most machines")
    return CHOICES[choice]
