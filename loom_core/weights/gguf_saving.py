"""Writing GGUF files; see `gguf_files.py` for their layout.

Weights of one axis and raw parameters are float32, matrices of the blocks quantised, the rest as it was.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..atomic import atomic_target
from ..errors import WeightsError
from ..models.quantised import import_gguf
from .checkpoint import TensorInfo
from .gguf_files import OWN_KEY, PLAIN, SHAPE_KEY, block_of, info_of, open_gguf
from .hashing import combine_sha256
from .saving import require_space

_MOST_AXES = 4
_FORM_OF_DTYPE = {dtype: form for form, dtype in PLAIN.items()}


@dataclass(frozen=True)
class GgufEntry:
    """A tensor that is to be written.

    Args:
        name: Its name in the file.
        shape: Of the weight.
        form: GGUF's type.
        load: Reads the weight; called once.
    """

    name: str
    shape: tuple[int, ...]
    form: str
    load: Callable[[], Tensor]

    @property
    def info(self) -> TensorInfo:
        """What the file will say of it."""
        return info_of(self.shape, self.form)


def form_for(shape: Sequence[int], dtype: torch.dtype, form: str | None) -> str:
    """The type in which a weight is written.

    Args:
        shape: Of the weight.
        dtype: Of the weight.
        form: Of quantised matrices; None where the weight is none. Rows that are no whole number of blocks stay plain.
    """
    if form is not None and len(shape) > 1 and shape[-1] % block_of(form)[0] == 0:
        return form
    is_raw = len(shape) == 3  # noqa: PLR2004 - modulation, a parameter outside layers, which loaders do not widen
    return "F32" if len(shape) < 2 or is_raw else _FORM_OF_DTYPE[dtype]  # noqa: PLR2004


def save_gguf(
    path: Path, entries: Sequence[GgufEntry], *, architecture: str, metadata: Mapping[str, str] | None = None
) -> str:
    """Write a GGUF file atomically, one tensor in memory at a time.

    Args:
        path: The file; an existing one is replaced once the new one is complete.
        entries: The tensors, in the order in which they are written.
        architecture: Of the model, as other programs call it.
        metadata: Text to store.

    Returns:
        The content hash.

    Raises:
        OutputError: The folder does not exist or must not be written to.
        WeightsError: What was written cannot be read back.
        ResourceError: The disk is full; nothing is left behind.
        MissingExtraError: The package gguf is not installed.
    """
    gguf = import_gguf()
    require_space(path, sum(entry.info.num_bytes for entry in entries))
    with atomic_target(path) as temporary:
        writer = gguf.GGUFWriter(None, architecture)
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        for key, text in sorted((metadata or {}).items()):
            writer.add_string(OWN_KEY + key, text)
        for entry in entries:
            if len(entry.shape) > _MOST_AXES:
                writer.add_array(SHAPE_KEY + entry.name, list(entry.shape))
            kind, size = gguf.GGMLQuantizationType[entry.form], entry.info.num_bytes
            writer.add_tensor_info(entry.name, _stored_shape(entry), np.dtype(np.float32), size, raw_dtype=kind)
        try:
            hashes = _write(writer, temporary, entries)
        finally:
            writer.close()
        written = open_gguf(temporary)
        if written.infos != {entry.name: entry.info for entry in entries}:
            raise WeightsError(
                f"other contents in the file just written than were meant ({temporary})",
                expected="the same tensors",
                fix="check the disk and try again",
            )
    return combine_sha256(hashes)


def _stored_shape(entry: GgufEntry) -> tuple[int, ...]:
    """The weight's shape, as a matrix where it has more axes than GGUF knows."""
    return entry.shape if len(entry.shape) <= _MOST_AXES else (entry.shape[0], math.prod(entry.shape[1:]))


def _write(writer: Any, path: Path, entries: Sequence[GgufEntry]) -> dict[str, tuple[TensorInfo, str]]:
    """Write header and data; of each tensor what it is, and the SHA-256 of its data."""
    gguf = import_gguf()
    writer.write_header_to_file(path)
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    hashes = {}
    for entry in entries:
        values = entry.load().float().reshape(_stored_shape(entry)).numpy()
        data = gguf.quants.quantize(values, gguf.GGMLQuantizationType[entry.form])
        writer.write_tensor_data(data)
        hashes[entry.name] = (entry.info, hashlib.sha256(data.reshape(-1).view(np.uint8)).hexdigest())
    return hashes
