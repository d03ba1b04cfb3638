"""Linear layers whose matrix stays in few bits in memory; each widens it when it is used, for that moment alone.

Forms, by the names that the files use:
- `float8_e4m3fn`, `float8_e5m2`, `int8_tensorwise`: ComfyUI's (its QUANTIZATION.md). A number of a byte each, times a
  float32 scale, one a matrix or one a row.
- GGUF's types (`Q8_0`, `Q4_0` ...): rows of blocks of 32 or 256 numbers, each block with its own scale, as bytes.

The arithmetic stays in the dtype of what comes in: weights alone are quantised.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import MissingExtraError

STORED_AS = MappingProxyType(
    {
        "float8_e4m3fn": torch.float8_e4m3fn,
        "float8_e5m2": torch.float8_e5m2,
        "int8_tensorwise": torch.int8,
    }
)
"""Forms with a number of a byte and a scale -> dtype of the numbers."""
GGUF_VERSION = "gguf>=0.17"
_HALF_BYTES = 2
_NIBBLE = 4


def import_gguf() -> Any:
    """The package of the GGUF format's makers.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import gguf
    except ImportError as error:
        raise MissingExtraError(GGUF_VERSION, "GGUF files", fix="pip install gguf") from error
    return gguf


def widen(stored: Tensor, form: str, *, shape: tuple[int, ...], dtype: torch.dtype, scale: Tensor | None) -> Tensor:
    """The matrix that quantised numbers stand for.

    Args:
        stored: The numbers, of the dtype of `STORED_AS`; of a GGUF type uint8 [..., bytes of a row].
        form: See the module.
        shape: Of the result.
        dtype: Of the result.
        scale: float32, broadcast against the numbers; None where the form has none.
    """
    if form in STORED_AS:
        wide = stored.to(dtype)
        return wide if scale is None else wide.mul_(scale)
    if form in _BLOCKS:
        return _BLOCKS[form](stored, dtype).reshape(shape)
    # types that few files have: by their makers' package, on the processor
    gguf = import_gguf()
    wide = torch.from_numpy(gguf.quants.dequantize(stored.cpu().numpy(), gguf.GGMLQuantizationType[form]))
    return wide.to(device=stored.device, dtype=dtype).reshape(shape)


def _q8_0(stored: Tensor, dtype: torch.dtype) -> Tensor:
    blocks = stored.reshape(-1, _HALF_BYTES + 32)
    return blocks[:, _HALF_BYTES:].view(torch.int8).to(dtype).mul_(_halves(blocks))


def _q4_0(stored: Tensor, dtype: torch.dtype) -> Tensor:
    blocks = stored.reshape(-1, _HALF_BYTES + 16)
    pairs = blocks[:, _HALF_BYTES:]
    numbers = torch.cat([pairs & 15, pairs >> _NIBBLE], dim=1).to(dtype).sub_(8)
    return numbers.mul_(_halves(blocks))


def _halves(blocks: Tensor) -> Tensor:
    """The scale that each block begins with: float32 [blocks, 1]."""
    return blocks[:, :_HALF_BYTES].contiguous().view(torch.float16).float()


_BLOCKS = MappingProxyType({"Q8_0": _q8_0, "Q4_0": _q4_0})
"""GGUF's types that are widened where the layer is. Source: the format's reference code in the package gguf."""


class QuantisedLinear(nn.Module):
    """A linear layer with a quantised matrix; inference alone.

    Args:
        form: See the module.
        in_features: Width of what comes in.
        out_features: Width of what goes out.
        stored: Shape and dtype of the matrix as it is kept.
        num_scales: Scales of the matrix: none, one, or one a row.
        bias: The bias of the layer that this takes the place of.
    """

    def __init__(
        self,
        form: str,
        in_features: int,
        out_features: int,
        *,
        stored: tuple[tuple[int, ...], torch.dtype],
        num_scales: int,
        bias: nn.Parameter | None,
    ) -> None:
        super().__init__()
        self.form, self.in_features, self.out_features = form, in_features, out_features
        shape, dtype = stored
        self.weight = nn.Parameter(torch.empty(shape, dtype=dtype, device="meta"), requires_grad=False)
        scales = torch.empty(num_scales, 1, device="meta") if num_scales else None
        self.weight_scale = None if scales is None else nn.Parameter(scales, requires_grad=False)
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        """The product of x [..., in_features] with the matrix, plus the bias: [..., out_features]."""
        shape = (self.out_features, self.in_features)
        matrix = widen(self.weight, self.form, shape=shape, dtype=x.dtype, scale=self.weight_scale)
        return functional.linear(x, matrix, self.bias)

    def extra_repr(self) -> str:
        """For people."""
        return f"{self.in_features}, {self.out_features}, {self.form}"
