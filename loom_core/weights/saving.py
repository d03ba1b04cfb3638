"""Writing safetensors tensor by tensor, so that no more than one of them is ever in memory.

The safetensors library writes only what is in memory as a whole; the format is simple enough to stream: eight bytes
with the length of a JSON header, the header, the data without gaps. Source: the safetensors format description.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from ..atomic import atomic_target
from ..errors import ResourceError, WeightsError
from .checkpoint import TensorInfo
from .dtypes import NAME_OF_DTYPE
from .hashing import CONTENT_KEY, HEX_LENGTH, SAMPLES_KEY, combine_sha256, sample_bytes, sha256_of, tensor_bytes
from .safetensors_files import open_safetensors

_ALIGNMENT = 8


@dataclass(frozen=True)
class Entry:
    """A tensor that is to be written.

    Args:
        name: Its name in the file.
        info: Its shape and dtype in the file.
        load: Makes it; called once, when its turn comes.
        release: Given what `load` returned once it is written, to give its memory back. Only who made `load` knows
            whether anyone else uses that tensor, so by default nothing happens.
    """

    name: str
    info: TensorInfo
    load: Callable[[], Tensor]
    release: Callable[[Tensor], None] | None = None


def entries_of(tensors: Mapping[str, Tensor], *, dtype: torch.dtype | None = None) -> list[Entry]:
    """Entries of tensors that are in memory already, such as a model's state dict.

    Args:
        tensors: By name.
        dtype: What they are cast to, one at a time as they are written; None keeps each one's own.
    """

    def entry(name: str, tensor: Tensor) -> Entry:
        target = dtype or tensor.dtype
        return Entry(name, TensorInfo(tuple(tensor.shape), target), lambda: tensor.detach().to(target))

    return [entry(name, tensor) for name, tensor in tensors.items()]


def writing_order(entries: Sequence[Entry]) -> list[Entry]:
    """Entries in the order in which `save_safetensors` makes and writes them."""
    # Wide numbers first keeps every tensor aligned to its own width, which memory mapping needs.
    return sorted(entries, key=lambda entry: (-entry.info.dtype.itemsize, entry.name))


def save_safetensors(path: str | Path, entries: Sequence[Entry], *, metadata: Mapping[str, str] | None = None) -> str:
    """Write a safetensors file atomically; the metadata gets the hashes of `hashing.py` as well.

    The bytes depend on the arguments alone: no date, a fixed order.

    Args:
        path: The file; an existing one is replaced once the new one is complete.
        entries: The tensors, in any order.
        metadata: Text to store.

    Returns:
        The content hash.

    Raises:
        OutputError: The folder does not exist or must not be written to.
        WeightsError: A tensor is not what its entry says, or what was written cannot be read back.
        ResourceError: The disk is full; nothing is left behind.
    """
    path = Path(path)
    ordered = writing_order(entries)
    metadata = {**(metadata or {}), CONTENT_KEY: "0" * HEX_LENGTH, SAMPLES_KEY: "0" * HEX_LENGTH}
    header = encode_header(ordered, metadata)
    require_space(path, len(header) + sum(entry.info.num_bytes for entry in ordered))
    with atomic_target(path) as temporary, temporary.open("wb") as file:
        file.write(header)
        written = {entry.name: (entry.info, _write(file, entry)) for entry in ordered}
        metadata[CONTENT_KEY] = combine_sha256({name: (info, whole) for name, (info, (whole, _)) in written.items()})
        metadata[SAMPLES_KEY] = combine_sha256({name: (info, part) for name, (info, (_, part)) in written.items()})
        # The hashes are known only now; their place in the header was kept free.
        file.seek(0)
        file.write(encode_header(ordered, metadata))
        file.flush()
        os.fsync(file.fileno())
        _verify(temporary, ordered, metadata)
    return metadata[CONTENT_KEY]


def encode_header(entries: Sequence[Entry], metadata: Mapping[str, str]) -> bytes:
    """The first part of a safetensors file: length and JSON, padded with spaces to a multiple of eight bytes."""
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    offset = 0
    for entry in entries:
        end = offset + entry.info.num_bytes
        header[entry.name] = {
            "dtype": NAME_OF_DTYPE[entry.info.dtype],
            "shape": list(entry.info.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def _write(file: IO[bytes], entry: Entry) -> tuple[str, str]:
    """Write a tensor and return the SHA-256 of its data and of its samples."""
    tensor = entry.load()
    if TensorInfo(tuple(tensor.shape), tensor.dtype) != entry.info:
        raise WeightsError(
            f"tensor {entry.name!r} of {tensor.dtype} {list(tensor.shape)}",
            expected=f"{entry.info.dtype} {list(entry.info.shape)}",
        )
    digest = hashlib.sha256()
    for piece in tensor_bytes(tensor):
        file.write(piece)
        digest.update(piece)
    samples = sha256_of(sample_bytes(tensor))
    if entry.release is not None:
        entry.release(tensor)
    return digest.hexdigest(), samples


def _verify(path: Path, entries: Sequence[Entry], metadata: Mapping[str, str]) -> None:
    written = open_safetensors(path)
    if written.infos != {entry.name: entry.info for entry in entries} or written.metadata != metadata:
        raise WeightsError(
            f"other contents in the file just written than were meant ({path})",
            expected="the same tensors and metadata",
            fix="check the disk and try again",
        )


def require_space(path: Path, needed: int) -> None:
    """Refuse to write more bytes than are free.

    Raises:
        ResourceError: They are more.
    """
    if path.parent.is_dir():
        free = shutil.disk_usage(path.parent).free
        if free < needed:
            raise ResourceError(
                f"{free / 1e9:.2f} GB free in {path.parent}",
                expected=f"{needed / 1e9:.2f} GB",
                fix="free some space or write to another disk",
            )
