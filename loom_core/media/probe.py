"""Finding out what a media file holds, without decoding more than one frame of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ..geometry import NATIVE_FPS
from .orientation import orientation_of_frame
from .source import checked_path, load_av, no_frames, open_container, readable_packets, seconds, video_stream
from .stills import animation_frames, is_animation, is_transparent, open_image

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from PIL.Image import Image

RATE_TOLERANCE = 0.05  # by how much frames / rate may differ from the length before the rate is not believed
_EXIF_ORIENTATION = 0x0112
_EXIF_TRANSPOSED = frozenset({5, 6, 7, 8})


@dataclass(frozen=True)
class MediaInfo:
    """What a media file holds.

    Args:
        is_image: True for a still image; an animated gif, webp or png is a clip.
        width: Pixels, after turning upright.
        height: Pixels, after turning upright.
        fps: Average frames a second; 0 for a still image.
        num_frames: Number of pictures; counted if the file does not say.
        duration_seconds: Length; 0 for a still image.
        has_audio: True when there is a sound track.
        pixel_format: FFmpeg's name for a video ("yuv420p"), Pillow's mode for an image ("RGBA").
        is_transparent: True when some pixel of a still image is; False for all clips, which are not looked at for that.
    """

    is_image: bool
    width: int
    height: int
    fps: float
    num_frames: int
    duration_seconds: float
    has_audio: bool
    pixel_format: str
    is_transparent: bool = False


def probe(path: str | os.PathLike[str]) -> MediaInfo:
    """Look at a media file; its content decides what it is, not its name.

    Raises:
        MediaError: It is missing, a folder, empty, damaged, cut off before its first frame, or holds no pictures.
        MissingExtraError: It is a video and PyAV is not installed.
    """
    checked = checked_path(path)
    with open_image(checked) as image:
        if image is not None:
            return _probe_image(image)
    with open_container(checked) as container:
        return _probe_video(container, checked)


def _probe_image(image: Image) -> MediaInfo:
    width, height = image.size
    if image.getexif().get(_EXIF_ORIENTATION) in _EXIF_TRANSPOSED:
        width, height = height, width
    mode = image.mode
    if not is_animation(image):
        return MediaInfo(True, width, height, 0.0, 1, 0.0, False, mode, is_transparent(image))
    durations = [frame.duration_seconds for frame in animation_frames(image)]
    total = round(sum(durations), 6)  # the file counts in milliseconds
    fps = len(durations) / total
    return MediaInfo(False, width, height, fps, len(durations), total, False, mode)


def _probe_video(container: InputContainer, path: Path) -> MediaInfo:
    stream = video_stream(container, path)
    frame = _first_frame(container, stream, path)
    container.seek(0)
    width, height = orientation_of_frame(frame).upright_size(frame.width, frame.height)
    num_frames, duration = stream.frames, _duration(container, stream)
    fps = float(stream.average_rate or stream.guessed_rate or 0)
    if not num_frames:  # mkv and webm count nothing, and their stated rate holds for constant rates alone
        num_frames, duration = _measure(container, stream, otherwise=duration)
        if fps and duration and abs(num_frames / fps - duration) > RATE_TOLERANCE * duration:
            fps = 0.0
    fps = fps or (num_frames / duration if duration else NATIVE_FPS)
    return MediaInfo(
        is_image=False,
        width=width,
        height=height,
        fps=fps,
        num_frames=num_frames,
        duration_seconds=duration or num_frames / fps,
        has_audio=bool(container.streams.audio),
        pixel_format=frame.format.name,
    )


def _first_frame(container: InputContainer, stream: VideoStream, path: Path) -> VideoFrame:
    av = load_av()
    for packet in readable_packets(container, stream):
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            continue  # a decoder may stumble over the first packets of a stream joined in the middle
        for frame in islice(frames, 1):
            return frame
    raise no_frames(path)


def _measure(container: InputContainer, stream: VideoStream, *, otherwise: float) -> tuple[int, float]:
    """Number of frames and length in seconds of the pictures alone, by their packets; `otherwise` without times."""
    count, first, last, shown = 0, None, None, 0.0
    for packet in readable_packets(container, stream):
        if not packet.size or packet.is_discard:
            continue
        count += 1
        if packet.pts is not None:
            moment = seconds(packet.pts, stream)
            first = moment if first is None else min(first, moment)
            if last is None or moment > last:
                last, shown = moment, seconds(packet.duration or 0, stream)
    container.seek(0)
    if first is None or last is None or count < 2:  # noqa: PLR2004 - one frame has no rate
        return count, otherwise
    return count, last - first + (shown or (last - first) / (count - 1))


def _duration(container: InputContainer, stream: VideoStream) -> float:
    if stream.duration:
        return seconds(stream.duration, stream)
    return (container.duration or 0) / load_av().time_base
