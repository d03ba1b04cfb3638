"""Quantising: the numbers of a matrix in few bits, and which weights of a model become so.

Rounding is to the nearest, by the largest number of a matrix (fp8), a row (int8) or a block (GGUF). The matrices of the
blocks alone are quantised: they are 97 % of the released DiT, and what is left out (embeddings, projector, time, head)
reaches every token of every block.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from ..errors import ConfigError
from ..models.quantised import STORED_AS
from .checkpoint import TensorInfo
from .packing import MARK, SCALE
from .saving import Entry

MATRICES = re.compile(
    # of the DiT, by its Wan-native names
    r"(?:blocks\.\d+\.(?:(?:self_attn|cross_attn)\.[qkvo]|ffn\.[02])"
    # of Qwen3-VL and its vision tower
    r"|(?:model\.)?(?:language_model\.)?layers\.\d+\.(?:self_attn\.[qkvo]_proj|mlp\.(?:gate|up|down)_proj)"
    r"|(?:model\.)?visual\.blocks\.\d+\.(?:attn\.(?:qkv|proj)|mlp\.linear_fc[12])"
    r"|(?:model\.)?visual\.(?:merger|deepstack_merger_list\.\d+)\.linear_fc[12])\.weight"
)
"""Weights that are quantised."""

_LARGEST_INT8 = 127
_SMALLEST_SCALE = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class Scheme:
    """A way to quantise.

    Args:
        name: On the command line.
        form: See `models.quantised`.
    """

    name: str
    form: str

    @property
    def is_gguf(self) -> bool:
        """Whether it is written as GGUF."""
        return self.form not in STORED_AS


SCHEMES = MappingProxyType(
    {
        scheme.name: scheme
        for scheme in (
            Scheme("fp8", "float8_e4m3fn"),
            Scheme("int8", "int8_tensorwise"),
            Scheme("gguf-q8_0", "Q8_0"),
            Scheme("gguf-q4_0", "Q4_0"),
        )
    }
)
"""By name. Of GGUF's types of four bits the package gguf can read all, and write Q4_0 and Q4_1."""


def scheme_of(name: str) -> Scheme:
    """The scheme of a name.

    Raises:
        ConfigError: There is none.
    """
    if name not in SCHEMES:
        raise ConfigError(f"format {name!r}", expected=f"one of {', '.join(SCHEMES)}", fix="fp8 suits most machines")
    return SCHEMES[name]


def quantise(weight: Tensor, form: str) -> tuple[Tensor, Tensor]:
    """A matrix in one of ComfyUI's forms.

    Args:
        weight: [rows, columns], finite.
        form: A key of `STORED_AS`.

    Returns:
        The numbers [rows, columns], and their float32 scale: of fp8 one, shape [], of int8 one a row, [rows, 1].
    """
    values, dtype = weight.float(), STORED_AS[form]
    if dtype is torch.int8:
        scale = (values.abs().amax(1, keepdim=True) / _LARGEST_INT8).clamp_min(_SMALLEST_SCALE)
        return (values / scale).round_().clamp_(-_LARGEST_INT8, _LARGEST_INT8).to(dtype), scale
    largest = torch.finfo(dtype).max
    scale = (values.abs().amax() / largest).clamp_min(_SMALLEST_SCALE)
    return (values / scale).clamp_(-largest, largest).to(dtype), scale


def comfy_entries(name: str, info: TensorInfo, make: Callable[[], tuple[Tensor, Tensor]], form: str) -> Iterator[Entry]:
    """What a quantised file of ComfyUI's has of one weight: its numbers, their scale, and a mark that says how.

    Args:
        name: Of the weight.
        info: Of the weight before.
        make: Reads and quantises it; called twice, since a file has all scales before all numbers.
        form: A key of `STORED_AS`.
    """
    layer, dtype = name.removesuffix(".weight"), STORED_AS[form]
    scales = (info.shape[0], 1) if dtype is torch.int8 else ()
    # without the flag the host rounds what comes into a layer of fp8 too, on GPUs that can multiply it; that of int8 it
    # rounds always
    mark = json.dumps({"format": form, "full_precision_matrix_mult": True}).encode()
    yield Entry(name, TensorInfo(info.shape, dtype), lambda: make()[0])
    yield Entry(layer + SCALE, TensorInfo(scales, torch.float32), lambda: make()[1])
    yield Entry(
        layer + MARK, TensorInfo((len(mark),), torch.uint8), lambda: torch.tensor(list(mark), dtype=torch.uint8)
    )
