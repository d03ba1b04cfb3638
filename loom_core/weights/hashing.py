"""Hashes of weights: of a file's bytes, and of what the tensors hold whatever file they lie in.

The content hash is the SHA-256 over one line a tensor, sorted by name: name, dtype, shape and the SHA-256 of its data.
It is taken under Wan-native names, so that an official file and its conversion without change of dtype have the same.

Files written here state their content hash, since reading 10 GB to learn it takes about ten seconds. Other tools keep
that statement when they change the weights, so files also carry a hash of small samples of every tensor. A statement
is believed only while the samples agree, and is then still called stated, not computed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from .checkpoint import Checkpoint, TensorInfo
from .dtypes import NAME_OF_DTYPE
from .memory import MappedFiles
from .reading import open_checkpoint

CONTENT_KEY = "content_sha256"
"""Metadata entry in which files written here carry their content hash."""

SAMPLES_KEY = "samples_sha256"
"""Metadata entry in which they carry the hash of their samples."""

CHUNK_BYTES = 16 << 20
SAMPLE_BYTES = 16 << 10
"""Of each of the three samples of a tensor: 40 MB in all of the released model, 0.04 s once the file is cached."""
HEX_LENGTH = 64


def file_sha256(path: Path, *, tell: Callable[[int], None] | None = None) -> str:
    """SHA-256 of a file, read in pieces.

    Args:
        path: The file.
        tell: Told the number of bytes after each piece.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(CHUNK_BYTES):
            digest.update(piece)
            if tell is not None:
                tell(len(piece))
    return digest.hexdigest()


def tensor_bytes(tensor: Tensor) -> Iterator[memoryview]:
    """The data of a tensor in C order and little-endian, in pieces that are views where possible."""
    for piece in _as_bytes(tensor).split(CHUNK_BYTES):
        yield piece.numpy().data


def sample_bytes(tensor: Tensor) -> Iterator[memoryview]:
    """The first, middle and last `SAMPLE_BYTES` of a tensor's data; they overlap in small ones."""
    data = _as_bytes(tensor)
    last = max(0, len(data) - SAMPLE_BYTES)
    for start in (0, last // 2, last):
        yield data[start : start + SAMPLE_BYTES].numpy().data


def sha256_of(pieces: Iterable[memoryview]) -> str:
    """SHA-256 of pieces as if they were one."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


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
    files = MappedFiles()
    for name, info in checkpoint.infos.items():
        tensor = checkpoint.tensor(name)
        hashes[name] = (info, sha256_of(tensor_bytes(tensor)))
        files.release(tensor)
    return combine_sha256(hashes)


def samples_sha256(checkpoint: Checkpoint) -> str:
    """The hash of the samples of every tensor, under the names that they have; reads hardly anything."""
    return combine_sha256(
        {name: (info, sha256_of(sample_bytes(checkpoint.tensor(name)))) for name, info in checkpoint.infos.items()}
    )


@dataclass(frozen=True)
class WeightsHash:
    """The content hash of a DiT, and what is known of its truth.

    Args:
        value: 64 hexadecimal digits.
        is_verified: True if all the data was read for it; False if the file states it and samples of every tensor
            agree, so that only a change between the samples could have gone unseen.
    """

    value: str
    is_verified: bool

    @property
    def origin(self) -> str:
        """For an output's metadata: "computed" or "stated"."""
        return "computed" if self.is_verified else "stated"


def weights_hash(path: str | Path, *, ema: bool = True, verify: bool = False) -> WeightsHash:
    """The content hash of a DiT under Wan-native names.

    A converted file states its own, which is believed while its samples agree. Any other file is read, about ten
    seconds for 10 GB, and its hash remembered by path, size and time of change as long as the process runs.

    Args:
        path: See `open_checkpoint`.
        ema: As for loading.
        verify: Read all the data whatever the file states.

    Raises:
        WeightsError: See `open_checkpoint`.
    """
    checkpoint = open_checkpoint(path, ema=ema)
    stated = checkpoint.metadata.get(CONTENT_KEY)
    if stated and not verify and checkpoint.metadata.get(SAMPLES_KEY) == samples_sha256(checkpoint):
        return WeightsHash(stated, is_verified=False)
    stamps = tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in checkpoint.files)
    return WeightsHash(_hash_once(str(path), ema, stamps), is_verified=True)


def weights_sha256(path: str | Path, *, ema: bool = True) -> str:
    """The value of `weights_hash` alone; record its `origin` with it where that matters.

    Args:
        path: See `open_checkpoint`.
        ema: As for loading.

    Raises:
        WeightsError: See `open_checkpoint`.
    """
    return weights_hash(path, ema=ema).value


@lru_cache(maxsize=16)
def _hash_once(path: str, ema: bool, _stamps: tuple[tuple[str, int, int], ...]) -> str:
    return content_sha256(open_checkpoint(path, ema=ema).native())


def _as_bytes(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
