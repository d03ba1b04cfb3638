"""Decoding the files of a record into a sample: one size, one start, one length for target and source."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch

from ..errors import MediaError
from ..geometry import snap_frames
from ..media.decode import read_clip, read_image
from ..media.probe import MediaInfo, probe
from ..media.resize import resize_and_crop
from ..types import Clip
from .framing import Framing
from .records import Record, Records
from .sample import Sample, SampleError, SampleFacts

T = TypeVar("T")


class FileSource:
    """A set of samples that lie in files.

    Args:
        records: Where they lie.
        framing: How they are cut.
    """

    def __init__(self, records: Records, framing: Framing) -> None:
        self.name = records.name
        self.records = records
        self.framing = framing
        settings = json.dumps(asdict(framing), sort_keys=True)
        self._settings = settings
        self.fingerprint = hashlib.sha256(f"{records.fingerprint}\n{settings}".encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.records)

    def describe(self, index: int) -> SampleFacts:
        """What one sample is made of: its files as they are now, its text, how it is cut.

        Raises:
            SampleError: It lacks something, or a file is not there.
        """
        record = self.records.record(index)
        about = [record.task.name, record.instruction, self._settings]
        for path in (*_pair(record), *record.references):
            with _reason(record, "unreadable"):
                status = path.stat()
            about.append(f"{path} {status.st_size} {status.st_mtime_ns}")
        # a still has no start to choose
        return SampleFacts(hashlib.sha256("\0".join(about).encode()).hexdigest(), not record.task.is_image)

    def load(self, index: int, *, generator: torch.Generator) -> Sample:
        """Decode a sample; see `sample.SampleSource`."""
        record = self.records.record(index)
        if record.task.is_image:
            return self._load_image(record)
        return self._load_clip(record, share=float(torch.rand((), generator=generator, dtype=torch.float64)))

    def _load_image(self, record: Record) -> Sample:
        pictures = {path: _read(record, partial(read_image, path)) for path in _pair(record)}
        size = self._size(record, [clip.size for clip in pictures.values()], is_image=True)
        fitted = {path: _resized(picture, size) for path, picture in pictures.items()}
        return self._sample(record, fitted, key=f"{record.key} {size[0]}x{size[1]}")

    def _load_clip(self, record: Record, *, share: float) -> Sample:
        about = {path: _read(record, partial(probe, path)) for path in _pair(record)}
        for path, info in about.items():
            _check_clip(record, path, info)
        size = self._size(record, [(info.width, info.height) for info in about.values()], is_image=False)
        start = self.framing.start_at(share, min(info.duration_seconds for info in about.values()))
        clips = {path: _read(record, partial(self._read_clip, path, start, size)) for path in about}
        length = snap_frames(min(clip.num_frames for clip in clips.values()))
        if length < self.framing.min_frames:
            raise SampleError(record.key, f"too short: {length} frames at {self.framing.fps:g} a second")
        cut = {path: replace(clip, frames=clip.frames[:length]) for path, clip in clips.items()}
        return self._sample(record, cut, key=f"{record.key} {size[0]}x{size[1]} {length} from {start:.4f}")

    def _read_clip(self, path: Path, start: float, size: tuple[int, int]) -> Clip:
        return read_clip(
            path,
            target_fps=self.framing.fps,
            max_frames=self.framing.num_frames,
            start_seconds=start,
            size=size,
        )

    def _size(self, record: Record, sizes: list[tuple[int, int]], *, is_image: bool) -> tuple[int, int]:
        """The size of target and source, which the smaller of the two decides."""
        width, height = min(sizes, key=lambda size: size[0] * size[1])
        try:
            return self.framing.size_of(width, height, is_image=is_image)
        except ValueError as error:
            raise SampleError(record.key, f"no size fits: {error}") from error

    def _sample(self, record: Record, clips: dict[Path, Clip], *, key: str) -> Sample:
        target = clips[record.target]
        return Sample(
            key=key,
            task=record.task,
            instruction=record.instruction,
            target=target,
            source=None if record.source is None else clips[record.source],
            references=tuple(self._reference(record, path, target.size) for path in record.references),
        )

    def _reference(self, record: Record, path: Path, target_size: tuple[int, int]) -> Clip:
        picture = _read(record, partial(read_image, path))
        if self.framing.reference_size == "target":
            return _resized(picture, target_size)
        return _resized(picture, self._size(record, [picture.size], is_image=True))


def _pair(record: Record) -> list[Path]:
    """Target and source, once each."""
    return list(dict.fromkeys(path for path in (record.target, record.source) if path is not None))


def _resized(picture: Clip, size: tuple[int, int]) -> Clip:
    return replace(picture, frames=resize_and_crop(picture.frames, width=size[0], height=size[1]))


def _read(record: Record, read: Callable[[], T]) -> T:
    with _reason(record, "unreadable"):
        return read()


@contextmanager
def _reason(record: Record, kind: str) -> Iterator[None]:
    """Turn what a file can be wrong in into a `SampleError`; what the machine lacks stays what it is."""
    try:
        yield
    except (MediaError, OSError) as error:
        raise SampleError(record.key, f"{kind}: {error}") from error


def _check_clip(record: Record, path: Path, info: MediaInfo) -> None:
    if info.is_image:
        raise SampleError(record.key, f"wrong kind: {path.name} is a still, task {record.task.name} takes clips")
