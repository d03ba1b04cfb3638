"""Reading GGUF files of a diffusion model or a Qwen3-VL, as ComfyUI-GGUF lays them out.

Tensors keep the names that they have in safetensors. `general.architecture` says which model it is ("wan" for a
DiT). GGUF knows at most four axes: a tensor of five is stored as a matrix, its shape under
`comfy.gguf.orig_shape.<name>`. What our safetensors files say in their metadata stands under `loomvideo.<key>`.

Read with the package gguf, of the makers of the format.
"""

from __future__ import annotations

import math
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from ..errors import WeightsError
from ..models.quantised import import_gguf
from .checkpoint import Checkpoint, Packing, TensorInfo

MAGIC = b"GGUF"
LAYOUT = "GGUF"
SHAPE_KEY = "comfy.gguf.orig_shape."
OWN_KEY = "loomvideo."
PLAIN = MappingProxyType(
    {
        "F64": torch.float64,
        "F32": torch.float32,
        "F16": torch.float16,
        "BF16": torch.bfloat16,
        "I64": torch.int64,
        "I32": torch.int32,
        "I16": torch.int16,
        "I8": torch.int8,
    }
)
"""Types that are no quantisation -> dtype."""


def info_of(shape: tuple[int, ...], form: str) -> TensorInfo:
    """What a file says of a weight.

    Args:
        shape: Of the weight.
        form: GGUF's type.
    """
    if form in PLAIN:
        return TensorInfo(shape, PLAIN[form])
    numbers, size = block_of(form)
    return TensorInfo(shape, torch.uint8, math.prod(shape) // numbers * size)


def block_of(form: str) -> tuple[int, int]:
    """Numbers of a block of a type, and its bytes."""
    gguf = import_gguf()
    numbers, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[form]]
    return int(numbers), int(size)


def open_gguf(path: Path) -> Checkpoint:
    """Open a GGUF file; tensors are views of the memory-mapped file, quantised ones as bytes.

    Args:
        path: The file.

    Raises:
        WeightsError: It is truncated, no GGUF file, or has a type unknown here.
        MissingExtraError: The package gguf is not installed.
    """
    gguf = import_gguf()
    try:
        # copy-on-write, since torch wants memory that could be written to
        reader = gguf.GGUFReader(path, "c")
        tensors = {tensor.name: tensor for tensor in reader.tensors}
        infos = {name: _info(reader, tensor) for name, tensor in tensors.items()}
    except (ValueError, IndexError, KeyError, OverflowError, OSError) as error:
        raise WeightsError(
            f"{path}, a GGUF file that is damaged or cut short ({error})",
            expected="a whole file of a known type",
            fix="copy or download it again",
        ) from error
    packings = {name: Packing(tensor.tensor_type.name) for name, tensor in tensors.items() if _is_packed(tensor)}
    _check_types({packing.form for packing in packings.values()}, path)

    def load(name: str) -> Tensor:
        data, info = torch.from_numpy(tensors[name].data), infos[name]
        return data if name in packings else data.view(info.dtype).reshape(info.shape)

    return Checkpoint(
        path=path, files=(path,), layout=LAYOUT, infos=infos, load=load, metadata=_texts(reader), packings=packings
    )


def _is_packed(tensor: Any) -> bool:
    return tensor.tensor_type.name not in PLAIN


def _info(reader: Any, tensor: Any) -> TensorInfo:
    shape = tuple(int(size) for size in reversed(tensor.shape.tolist()))
    field = reader.get_field(SHAPE_KEY + tensor.name)
    if field is not None:
        shape = tuple(int(size) for size in field.contents())
    if math.prod(shape) != tensor.n_elements:
        raise ValueError(f"{tensor.name!r} of {tensor.n_elements} numbers, said to be {list(shape)}")
    return info_of(shape, tensor.tensor_type.name)


def _texts(reader: Any) -> dict[str, str]:
    """Entries that are text, ours under the names that they have in safetensors."""
    texts = {}
    for key, field in reader.fields.items():
        content = field.contents() if key.startswith((OWN_KEY, "general.")) else None
        if isinstance(content, str):
            texts[key.removeprefix(OWN_KEY)] = content
    return texts


def _check_types(forms: set[str], path: Path) -> None:
    """Refuse types that cannot be widened."""
    gguf = import_gguf()
    for form in sorted(forms):
        kind = gguf.GGMLQuantizationType[form]
        try:
            gguf.quants.dequantize(torch.zeros(1, block_of(form)[1], dtype=torch.uint8).numpy(), kind)
        except NotImplementedError as error:
            raise WeightsError(
                f"{path}, with weights of GGUF's type {form}, which the package gguf cannot widen",
                expected="Q8_0, Q4_0 or another that it can",
                fix="pip install --upgrade gguf, or use a file of another type",
            ) from error
