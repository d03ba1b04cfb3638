"""Latents on disk: one file for a sample cut in one way, so that it is decoded and encoded once for all epochs.

A file's name is a fingerprint of everything that its content follows from: the sample's own files and text, how it is
cut, which of the clip starts, the codec, and what is kept. When any of that changes the name is another one, and the
old file is never read again; delete the folder to free its space. The content carries a checksum; a damaged file is
made anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..atomic import atomic_target, make_folder
from ..errors import OutputError, ResourceError
from ..types import Clip
from .sample import EncodedSample
from .tasks import TRAINING_TASKS

logger = logging.getLogger(__name__)

_VERSION = "loomvideo-latents-1"
_GIGABYTE = 10**9
_ABOUT, _SUM = "about", "checksum"
_TARGET, _SOURCE, _REFERENCE = "target", "source", "reference"
_MLLM_SOURCE, _MLLM_REFERENCE = "mllm_source", "mllm_reference"


class LatentCache:
    """Encoded samples in a folder.

    Args:
        folder: Created if it is not there.
        identity: Of everything that is the same for all samples and shapes what is kept: the codec, the latents' dtype,
            which parts.
        reserve: Bytes of the disk that are left free: nothing is written that would leave less.

    Raises:
        OutputError: The folder cannot be created.
    """

    def __init__(self, folder: Path, *, identity: str, reserve: float = 0) -> None:
        self.folder = folder
        self.identity = identity
        self.reserve = reserve
        self.damaged = 0
        """Files that could not be read and were made anew."""
        self.is_full = False
        """True once nothing more is written, since there is no room or no permission."""
        make_folder(folder, what="the cache folder", fix="change `cache:`, or leave it out")

    def name_of(self, sample_fingerprint: str, *, variant: int) -> str:
        """Name of a sample's entry.

        Args:
            sample_fingerprint: Of its files, its text and how it is cut.
            variant: Which of its clip starts.
        """
        about = "\0".join([_VERSION, self.identity, sample_fingerprint, str(variant)])
        return hashlib.sha256(about.encode()).hexdigest()

    def has(self, name: str) -> bool:
        """Whether there is an entry; it may still turn out damaged."""
        return self._path(name).is_file()

    def load(self, name: str) -> EncodedSample | None:
        """An entry, with seed 0; None when there is none or it is damaged, which removes it."""
        path = self._path(name)
        if not path.is_file():
            return None
        try:
            sample = _read(path)
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            self.damaged += 1
            logger.warning("the cached latents %s are damaged (%s) and made anew", path.name, error)
            self._remove(path)
            return None
        return sample

    def store(self, name: str, sample: EncodedSample) -> None:
        """Keep a sample; when there is no room for it, nothing more is kept and the run goes on."""
        if self.is_full:
            return
        path = self._path(name)
        try:
            content = _written(sample)
            self._check_reserve(len(content))
            path.parent.mkdir(exist_ok=True)
            with atomic_target(path) as temporary:
                temporary.write_bytes(content)
        except (ResourceError, OutputError, OSError) as error:
            self.is_full = True
            logger.warning("no more latents are cached, training goes on without: %s", error)

    def _check_reserve(self, size: int) -> None:
        """Refuse to write so many bytes into what is kept free for checkpoints and other programs.

        Raises:
            ResourceError: They would leave too little.
        """
        free = shutil.disk_usage(self.folder).free
        if free - size < self.reserve:
            raise ResourceError(
                f"{free / _GIGABYTE:.1f} GB free on the disk of {self.folder}",
                expected=f"{self.reserve / _GIGABYTE:g} GB that are left to others (cache_reserve_gb)",
                fix="free some space, put the cache on another disk, or lower data.cache_reserve_gb",
            )

    def _path(self, name: str) -> Path:
        return self.folder / name[:2] / f"{name}.safetensors"

    def _remove(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("%s cannot be removed: %s", path, error)


def _written(sample: EncodedSample) -> bytes:
    """A sample as the bytes of a safetensors file."""
    # copies, since tensors that share memory are refused
    tensors = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in _tensors(sample)}
    about = {
        "key": sample.key,
        "task": sample.task.name,
        "instruction": sample.instruction,
        "fps": 0.0 if sample.mllm_source is None else sample.mllm_source.fps,
        "source_is_image": sample.mllm_source is not None and sample.mllm_source.is_image,
        "source_is_target": sample.source is sample.target,
    }
    return save(tensors, metadata={_ABOUT: json.dumps(about), _SUM: _checksum(tensors)})


def _tensors(sample: EncodedSample) -> Iterator[tuple[str, Tensor]]:
    yield _TARGET, sample.target
    if sample.source is not None and sample.source is not sample.target:
        yield _SOURCE, sample.source
    if sample.mllm_source is not None:
        yield _MLLM_SOURCE, sample.mllm_source.frames
    for index, latents in enumerate(sample.references):
        yield f"{_REFERENCE}{index}", latents
    for index, picture in enumerate(sample.mllm_references):
        yield f"{_MLLM_REFERENCE}{index}", picture.frames


def _read(path: Path) -> EncodedSample:
    with safe_open(path, framework="pt", device="cpu") as file:
        metadata: dict[str, str] = file.metadata() or {}
        tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if metadata[_SUM] != _checksum(tensors):
        raise ValueError("the checksum differs")
    about: dict[str, Any] = json.loads(metadata[_ABOUT])
    source = tensors.get(_MLLM_SOURCE)
    return EncodedSample(
        key=about["key"],
        task=TRAINING_TASKS[about["task"]],
        instruction=about["instruction"],
        target=tensors[_TARGET],
        source=tensors[_TARGET] if about["source_is_target"] else tensors.get(_SOURCE),
        references=tuple(_numbered(tensors, _REFERENCE)),
        mllm_source=None if source is None else Clip(source, about["fps"], is_image=about["source_is_image"]),
        mllm_references=tuple(Clip(frames, 0.0, is_image=True) for frames in _numbered(tensors, _MLLM_REFERENCE)),
    )


def _numbered(tensors: dict[str, Tensor], name: str) -> Iterator[Tensor]:
    index = 0
    while f"{name}{index}" in tensors:
        yield tensors[f"{name}{index}"]
        index += 1


def _checksum(tensors: dict[str, Tensor]) -> str:
    total = 0
    for name in sorted(tensors):
        tensor = tensors[name]
        total = zlib.crc32(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode(), total)
        total = zlib.crc32(tensor.contiguous().view(torch.uint8).numpy().data, total)
    return f"{total:08x}"
