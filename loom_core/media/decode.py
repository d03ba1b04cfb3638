"""Reading clips and images as upright RGB frames at the model's rate.

Which frames of a clip are taken follows the official `load_video` exactly when its rate is constant. With a variable
rate the official code drifts out of sync; here time stamps decide (see `timeline.py`).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from ..errors import ConfigError, MediaError
from ..geometry import MAX_FRAMES, NATIVE_FPS, resample_indices, snap_frames
from ..types import Clip
from .color import RGBConverter
from .orientation import Orientation, orientation_of_frame
from .resize import Fit, resize_frame
from .scan import scan_video
from .source import (
    checked_path,
    container_zero,
    frame_seconds,
    load_av,
    no_frames,
    open_container,
    readable_packets,
    seek_seconds,
    starts_too_late,
    video_stream,
    warn_cut_off,
)
from .stills import animation_frames, is_animation, open_image, to_rgb
from .timeline import Timeline, build_timeline, choose

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from PIL.Image import Image

logger = logging.getLogger(__name__)

T = TypeVar("T")
Picture = npt.NDArray[np.uint8]  # [height, width, 3]

_SCAN_MARGIN = 1.0  # seconds looked at beyond the last frame needed, to judge the rate
_HDR_TRANSFERS = frozenset({16, 18})  # SMPTE ST 2084 (PQ) and ARIB STD-B67 (HLG), ITU-T H.273 table 3


@dataclass(frozen=True)
class _Picked:
    """Frames that were asked for, in order, and where the first lies in the file."""

    frames: torch.Tensor  # [F, H, W, 3]
    start_seconds: float


@dataclass(frozen=True)
class _Request:
    """What `read_clip` was asked for."""

    path: Path
    target_fps: float
    max_frames: int
    start_seconds: float
    size: tuple[int, int] | None
    fit: Fit

    @property
    def end_seconds(self) -> float:
        return self.start_seconds + (self.max_frames - 1) / self.target_fps + _SCAN_MARGIN

    def indices(self, timeline: Timeline) -> list[int]:
        in_reach = timeline.num_positions if timeline.is_whole else int(timeline.fps * self.end_seconds) + 1
        return resample_indices(timeline.fps, in_reach, target_fps=self.target_fps, max_frames=self.max_frames)

    def fitted(self, picture: Picture) -> Picture:
        if self.size is None:
            return picture
        width, height = self.size
        return resize_frame(np.ascontiguousarray(picture), width=width, height=height, fit=self.fit)


def read_clip(
    path: str | os.PathLike[str],
    *,
    target_fps: float = NATIVE_FPS,
    max_frames: int = MAX_FRAMES,
    start_seconds: float = 0.0,
    size: tuple[int, int] | None = None,
    fit: Fit = "cover",
) -> Clip:
    """Read a video, an animated image or a still image.

    Frames are decoded one after another and only those needed are kept; reading stops after the last of them. They
    are turned upright, and transparency is laid over white. A file that is cut off gives what can be read of it (cut
    to 4k + 1), with how many frames were found and expected as a warning in the log: compare `num_frames`.

    Args:
        path: The file; its content decides what it is.
        target_fps: Frames a second of the result, above 0.
        max_frames: Longest result, at least 1; it is cut to 4k + 1 frames.
        start_seconds: Where to begin, from the 0:00 that a player shows; ignored for a still image.
        size: (width, height) in pixels to which every frame is brought as soon as it is decoded, so that a 4K clip
            never stands in memory whole; None keeps the size of the file.
        fit: How `size` is filled, see `resize.resize_and_crop`.

    Returns:
        The clip. A still image has one frame and rate 0.

    Raises:
        ConfigError: A number is out of range.
        MediaError: The file cannot be read, holds no frame, or ends before `start_seconds`.
        MissingExtraError: It is a video and PyAV is not installed.

    Source: official `load_video` and `load_image`.
    """
    _check_numbers(target_fps=target_fps, max_frames=max_frames, start_seconds=start_seconds)
    checked = checked_path(path)
    request = _Request(checked, float(target_fps), max_frames, float(start_seconds), size, fit)
    with open_image(checked) as image:
        if image is not None and not is_animation(image):
            return _still_clip(image, request)
        picked = _pick_from_animation(image, request) if image is not None else None
    if picked is None:
        picked = _pick_from_video(request)
    return Clip(picked.frames, request.target_fps, source_path=checked, start_seconds=picked.start_seconds)


def read_image(path: str | os.PathLike[str], *, size: tuple[int, int] | None = None, fit: Fit = "cover") -> Clip:
    """Read a still image as a clip of one frame, upright and with transparency laid over white.

    Args:
        path: The file; its content decides what it is.
        size: (width, height) in pixels of the result; None keeps the size of the file.
        fit: How `size` is filled, see `resize.resize_and_crop`.

    Raises:
        MediaError: The file cannot be read or is no still image.
    """
    checked = checked_path(path)
    with open_image(checked) as image:
        if image is not None and not is_animation(image):
            return _still_clip(image, _Request(checked, NATIVE_FPS, 1, 0.0, size, fit))
    raise MediaError(
        f"{checked.name}, which is not a still image",
        expected="an image (png, jpg, webp, tiff ...)",
        fix="save one frame of it as a png, or give the file where a clip is expected",
    )


def _check_numbers(*, target_fps: float, max_frames: int, start_seconds: float) -> None:
    if not 0 < target_fps < float("inf"):
        raise ConfigError(f"target_fps {target_fps}", expected="a rate above 0", fix=f"use {NATIVE_FPS:g}")
    if max_frames < 1:
        raise ConfigError(f"max_frames {max_frames}", expected="at least 1", fix=f"use {MAX_FRAMES}")
    if not 0 <= start_seconds < float("inf"):
        raise ConfigError(f"start_seconds {start_seconds}", expected="a time from 0 on", fix="use 0")


def _still_clip(image: Image, request: _Request) -> Clip:
    picture = request.fitted(to_rgb(image))
    return Clip(torch.from_numpy(picture)[None], 0.0, is_image=True, source_path=request.path)


def _pick_from_animation(image: Image, request: _Request) -> _Picked:
    times: list[float] = []
    last_duration = 0.0
    is_whole = True
    for frame in animation_frames(image):
        if frame.start_seconds > request.end_seconds:
            is_whole = False
            break
        if frame.start_seconds + frame.duration_seconds > request.start_seconds:
            times.append(max(frame.start_seconds, request.start_seconds))
        last_duration = frame.duration_seconds
    if not times:
        raise starts_too_late(request.path, request.start_seconds)
    timeline = build_timeline(times, average_fps=None, last_duration=last_duration, is_whole=is_whole)
    placed = ((timeline.position(frame.start_seconds), frame.image.copy()) for frame in animation_frames(image))
    return _Picked(_collect(placed, timeline, request, to_picture=to_rgb), times[0])


def _pick_from_video(request: _Request) -> _Picked:
    scan = scan_video(request.path, start_seconds=request.start_seconds, end_seconds=request.end_seconds)
    with open_container(request.path) as container:
        stream = video_stream(container, request.path)
        zero = container_zero(container)
        _warn_of_oddities(stream, request.path)
        if scan.seeks:
            seek_seconds(container, request.start_seconds)
        placed = _placed_frames(_decoded_frames(container, stream), scan.timeline, first_frame=scan.first_frame)
        frames = _collect(placed, scan.timeline, request, to_picture=_VideoPictures())
    return _Picked(frames, max(0.0, scan.timeline.origin_seconds - zero))


def _decoded_frames(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Frames in presentation order; what cannot be decoded is left out and logged."""
    av = load_av()
    for packet in readable_packets(container, stream):
        if packet.is_corrupt:  # the last packet of a file that was cut off
            continue
        try:
            yield from packet.decode()
        except av.error.FFmpegError as error:
            logger.warning("a damaged part of the video was left out (%s)", error)


def _placed_frames(
    frames: Iterator[VideoFrame], timeline: Timeline, *, first_frame: int | None
) -> Iterator[tuple[int, VideoFrame]]:
    """Each frame with its position on the grid; below 0 for those before the start."""
    for number, frame in enumerate(frames):
        moment = frame_seconds(frame)
        if first_frame is not None or moment is None:
            yield number - (first_frame or 0), frame
        else:
            yield timeline.position(moment), frame


def _collect(
    placed: Iterator[tuple[int, T]], timeline: Timeline, request: _Request, *, to_picture: Callable[[T], Picture]
) -> torch.Tensor:
    """Take the frames at the wanted grid positions; the one before stays on where a position has none of its own.

    Returns:
        uint8 [F, H, W, 3], F of the form 4k + 1.
    """
    wanted = request.indices(timeline)
    frames: torch.Tensor | None = None
    num_taken = 0
    last: T | None = None
    for num_taken, item in enumerate(choose(placed, wanted, timeline), start=1):
        if item is not last:  # a frame may be wanted several times in a row
            picture = torch.from_numpy(np.ascontiguousarray(request.fitted(to_picture(item))))
            last = item
        if frames is None:  # whole at once: joining single frames would need the memory twice
            frames = torch.empty((len(wanted), *picture.shape), dtype=torch.uint8)
        frames[num_taken - 1] = picture
    if frames is None:
        raise no_frames(request.path)
    if num_taken < len(wanted):
        warn_cut_off(request.path, f"{num_taken} of the {len(wanted)} frames needed could be read")
    return frames[: snap_frames(num_taken)]


class _VideoPictures:
    """Turns the decoded frames of one stream into upright RGB."""

    def __init__(self) -> None:
        self._convert = RGBConverter()
        self._orientation: Orientation | None = None

    def __call__(self, frame: VideoFrame) -> Picture:
        if (
            self._orientation is None
        ):  # once: looking at a frame's side data keeps its memory until a garbage collection
            self._orientation = orientation_of_frame(frame)
        return self._orientation.apply(self._convert(frame))


def _warn_of_oddities(stream: VideoStream, path: Path) -> None:
    context = stream.codec_context
    if getattr(context, "color_trc", 0) in _HDR_TRANSFERS:
        logger.warning("%s is HDR; it is read without tone mapping, so its colours come out pale", path.name)
    ratio = context.sample_aspect_ratio
    if ratio and ratio != 1:
        logger.warning("%s has pixels that are not square (%s); they are read as if they were", path.name, ratio)
