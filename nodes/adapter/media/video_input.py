"""What is connected where a clip is expected: a VIDEO in a file or in memory, or an IMAGE; its size and rate."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import Input, InputImpl
from torch import Tensor

from ....loom_core.atomic import atomic_target
from ....loom_core.errors import MediaError
from ....loom_core.media.probe import probe
from .pictures import check_images


@dataclass(frozen=True)
class VideoFile:
    """A VIDEO that lies in a file, or the part of it that was cut out.

    Args:
        path: The file.
        start_seconds: Where the part begins, from the 0:00 that a player shows.
        seconds: How long it is; None to the end.
    """

    path: Path
    start_seconds: float
    seconds: float | None


@dataclass(frozen=True)
class SourceFacts:
    """What can be told of a source without decoding it.

    Args:
        width: In pixels, upright.
        height: The same.
        num_frames: Pictures, at `fps`.
        fps: Frames a second; None for an IMAGE, which has none.
    """

    width: int
    height: int
    num_frames: int
    fps: float | None


def video_file(source: Any) -> VideoFile | None:
    """Where a VIDEO lies; None for one that was made in memory.

    Args:
        source: The host's VIDEO.
    """
    if not isinstance(source, InputImpl.VideoFromFile):
        return None
    stored = source.get_stream_source()
    start, seconds = source.get_active_trim_window()
    return VideoFile(_as_file(stored) if isinstance(stored, BytesIO) else Path(stored), start, seconds or None)


def _as_file(content: BytesIO) -> Path:
    """Downloaded clips stand in memory; FFmpeg and our readers want a file, which the host clears away at its start."""
    held = content.getbuffer()
    path = Path(folder_paths.get_temp_directory()) / f"loomvideo_{hashlib.blake2b(held, digest_size=12).hexdigest()}"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_target(path) as temporary:
            temporary.write_bytes(held)
    return path


def video_in_memory(source: Any) -> Any:
    """The components (images, audio, frame_rate) of a VIDEO that lies in no file.

    Args:
        source: The host's VIDEO.

    Raises:
        MediaError: It is no VIDEO, or has no rate.
    """
    if not isinstance(source, Input.Video):
        raise MediaError(
            f"a source of type {type(source).__name__}", expected="a VIDEO or an IMAGE", fix="check what is connected"
        )
    components = source.get_components()
    if not components.frame_rate or components.frame_rate <= 0:
        raise MediaError(
            f"a VIDEO with a rate of {components.frame_rate}",
            expected="a rate above 0",
            fix="set the rate where it is made",
        )
    return components


def source_facts(source: Any) -> SourceFacts:
    """Size, length and rate of a source.

    Args:
        source: The host's VIDEO or IMAGE.

    Raises:
        MediaError: It is neither, is empty, or its file cannot be read.
    """
    if isinstance(source, Tensor):
        check_images(source, what="the source")
        return SourceFacts(source.shape[2], source.shape[1], source.shape[0], None)
    file = video_file(source)
    if file is None:
        components = video_in_memory(source)
        check_images(components.images, what="the source")
        num_frames, height, width = components.images.shape[:3]
        return SourceFacts(width, height, num_frames, float(components.frame_rate))
    info = probe(file.path)
    if info.is_image:
        return SourceFacts(info.width, info.height, 1, None)
    left = max(0.0, info.duration_seconds - file.start_seconds)
    seconds = left if file.seconds is None else min(file.seconds, left)
    is_whole = file.start_seconds == 0 and file.seconds is None
    num_frames = info.num_frames if is_whole else max(1, round(seconds * info.fps))
    return SourceFacts(info.width, info.height, num_frames, info.fps)
