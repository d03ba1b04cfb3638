"""Hashes of weights: of a file's bytes, and of what the tensors hold whatever file they lie in.

The content hash is the SHA-256 over one line a tensor, sorted by name: name, dtype, shape and the SHA-256 of its data.
It is taken under Wan-native names, so that an official file and its conversion without change of dtype have the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from .checkpoint import Checkpoint, TensorInfo
from .dtypes import NAME_OF_DTYPE
from .memory import release_pages
from .reading import open_checkpoint

CONTENT_KEY = "content_sha256"
"""Metadata entry in which files written here carry their content hash."""

CHUNK_BYTES = 16 << 20
HEX_LENGTH = 64


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(CHUNK_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def tensor_bytes(tensor: Tensor) -> Iterator[memoryview]:
    """The data of a tensor in C order and little-endian, in pieces that are views where possible."""
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    for piece in flat.split(CHUNK_BYTES):
        yield memoryview(piece.numpy())


def combine_sha256(hashes: Mapping[str, tuple[TensorInfo, str]]) -> str:
    """The content hash of a set of tensors.

    Args:
        hashes: Name -> what the tensor is, and the SHA-256 of its data.
    """
    lines = (
        f"{name} {NAME_OF_DTYPE[info.dtype]} {list(info.shape)} {digest}\n"
        for name, (info, digest) in sorted(hashes.items())
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def content_sha256(checkpoint: Checkpoint) -> str:
    """The content hash of a checkpoint under the names that it has; reads all of it."""
    hashes = {}
    for name, info in checkpoint.infos.items():
        tensor = checkpoint.tensor(name)
        digest = hashlib.sha256()
        for piece in tensor_bytes(tensor):
            digest.update(piece)
        release_pages(tensor)
        hashes[name] = (info, digest.hexdigest())
    return combine_sha256(hashes)


def weights_sha256(path: str | Path, *, ema: bool = True) -> str:
    """The content hash of a DiT for an output's metadata, under Wan-native names.

    A converted file states its own; any other is read once a process, about ten seconds for 10 GB.

    Args:
        path: See `open_checkpoint`.
        ema: As for loading.

    Raises:
        WeightsError: See `open_checkpoint`.
    """
    checkpoint = open_checkpoint(path, ema=ema)
    if CONTENT_KEY in checkpoint.metadata:
        return checkpoint.metadata[CONTENT_KEY]
    stamps = tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in checkpoint.files)
    return _hash_once(str(path), ema, stamps)


@lru_cache(maxsize=16)
def _hash_once(path: str, ema: bool, _stamps: tuple[tuple[str, int, int], ...]) -> str:
    return content_sha256(open_checkpoint(path, ema=ema).native())
