"""The pictures of a clip or an animated image in order, each with its place on the grid of the clip's time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import MediaError
from .color import RGBConverter
from .orientation import Orientation, orientation_of_frame
from .scan import scan_video
from .source import (
    container_zero,
    frame_seconds,
    load_av,
    open_container,
    readable_packets,
    seek_seconds,
    starts_too_late,
    video_stream,
)
from .stills import animation_frames, is_animation, open_image, to_rgb
from .timeline import Timeline, build_timeline, choose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from PIL.Image import Image

logger = logging.getLogger(__name__)

Picture = npt.NDArray[np.uint8]  # [height, width, 3]

_HDR_TRANSFERS = frozenset({16, 18})  # SMPTE ST 2084 (PQ) and ARIB STD-B67 (HLG), ITU-T H.273 table 3


@dataclass(frozen=True)
class PlacedPictures:
    """What is shown from a moment on, not yet decoded.

    Args:
        timeline: The grid, from the first picture needed.
        start_seconds: Where that lies, from the 0:00 that a player shows.
        placed: (position, picture), positions rising; can be gone through once.
        to_picture: Turns one of them into upright RGB.
    """

    timeline: Timeline
    start_seconds: float
    placed: Iterator[tuple[int, Any]]
    to_picture: Callable[[Any], Picture]

    def at(self, wanted: Sequence[int]) -> Iterator[Any]:
        """What is shown at grid positions, in order, for `to_picture`; fewer if the pictures run out.

        A picture that is wanted several times in a row is the same object each time.
        """
        return choose(self.placed, wanted, self.timeline)


@contextmanager
def open_pictures(path: Path, *, start_seconds: float, end_seconds: float) -> Iterator[PlacedPictures]:
    """Open the part of a clip or an animated image between two moments.

    Args:
        path: An absolute path, as `source.checked_path` gives it.
        start_seconds: Where to begin, from the 0:00 that a player shows.
        end_seconds: How far the rate is to be judged by.

    Raises:
        MediaError: The file cannot be read, holds no frame, is a still, or ends before `start_seconds`.
        MissingExtraError: It is a video and PyAV is not installed.
    """
    with open_image(path) as image:
        if image is None:
            with _open_video(path, start_seconds, end_seconds) as pictures:
                yield pictures
        elif is_animation(image):
            yield _open_animation(image, path, start_seconds, end_seconds)
        else:
            raise MediaError(f"{path.name}, which is a still image", expected="a clip", fix="give it as an image")


def _open_animation(image: Image, path: Path, start_seconds: float, end_seconds: float) -> PlacedPictures:
    times: list[float] = []
    last_duration = 0.0
    is_whole = True
    for frame in animation_frames(image):
        if frame.start_seconds > end_seconds:
            is_whole = False
            break
        if frame.start_seconds + frame.duration_seconds > start_seconds:
            times.append(max(frame.start_seconds, start_seconds))
        last_duration = frame.duration_seconds
    if not times:
        raise starts_too_late(path, start_seconds)
    timeline = build_timeline(times, average_fps=None, last_duration=last_duration, is_whole=is_whole)
    placed = ((timeline.position(frame.start_seconds), frame.image.copy()) for frame in animation_frames(image))
    return PlacedPictures(timeline, times[0], placed, to_rgb)


@contextmanager
def _open_video(path: Path, start_seconds: float, end_seconds: float) -> Iterator[PlacedPictures]:
    scan = scan_video(path, start_seconds=start_seconds, end_seconds=end_seconds)
    with open_container(path) as container:
        stream = video_stream(container, path)
        zero = container_zero(container)
        _warn_of_oddities(stream, path)
        if scan.seeks:
            seek_seconds(container, start_seconds)
        placed = _placed_frames(_decoded_frames(container, stream), scan.timeline, first_frame=scan.first_frame)
        start = max(0.0, scan.timeline.origin_seconds - zero)
        yield PlacedPictures(scan.timeline, start, placed, _UprightFrames())


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


class _UprightFrames:
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
