"""Encoding RGB frames into a video file, one chunk at a time, with sound beside them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from ..errors import MediaError
from .audio import FollowingAudio
from .source import load_av

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

logger = logging.getLogger(__name__)

_BT709, _LIMITED_RANGE = 1, 1  # ITU-T H.273 tables 2 to 4; FFmpeg's AVCOL_RANGE_MPEG


@dataclass(frozen=True)
class VideoEncoder:
    """An encoder and its settings for visually lossless pictures."""

    name: str
    options: Mapping[str, str]


@dataclass(frozen=True)
class VideoFormat:
    """A kind of video file: FFmpeg's name, its options, and encoders in order of preference."""

    name: str
    options: Mapping[str, str]
    encoders: tuple[VideoEncoder, ...]


_H264 = VideoEncoder("libx264", {"crf": "16", "preset": "medium"})
_MPEG4 = VideoEncoder("mpeg4", {"flags": "+qscale", "global_quality": str(2 * 118)})  # 118 = FF_QP2LAMBDA
_VP9 = VideoEncoder("libvpx-vp9", {"crf": "20", "b": "0", "cpu-used": "4", "row-mt": "1"})
_VP8 = VideoEncoder("libvpx", {"crf": "8", "b": "20M"})
_ISO_OPTIONS = {"movflags": "faststart+use_metadata_tags"}
FORMATS: dict[str, VideoFormat] = {
    ".mp4": VideoFormat("mp4", _ISO_OPTIONS, (_H264, _MPEG4)),
    ".mov": VideoFormat("mov", _ISO_OPTIONS, (_H264, _MPEG4)),
    ".mkv": VideoFormat("matroska", {}, (_H264, _VP9, _MPEG4)),
    ".webm": VideoFormat("webm", {}, (_VP9, _VP8)),
}
"""File name ending -> how it is written."""


def exact_rate(fps: float) -> Fraction:
    """A frame rate as the fraction that is meant: 23.976 is 24000/1001, 29.97 is 30000/1001, 24 is 24."""
    fraction = Fraction(fps).limit_denominator(1001)
    if fraction.denominator == 1:
        return fraction
    ntsc = Fraction(round(fps * 1.001) * 1000, 1001)
    return ntsc if abs(float(ntsc) - fps) < 1e-3 else fraction  # noqa: PLR2004 - three decimals, as people write it


class VideoWriter:
    """Writes frames to a file that is already open under a temporary name.

    Args:
        target: Where to write.
        suffix: Kind of file, a key of `FORMATS`.
        rate: Frames a second.
        size: (width, height) of the frames in pixels.
        metadata: Container metadata, key to value.
        resources: Closes what this opens.
    """

    def __init__(
        self,
        target: Path,
        *,
        suffix: str,
        rate: Fraction,
        size: tuple[int, int],
        metadata: Mapping[str, str],
        resources: ExitStack,
    ) -> None:
        av = load_av()
        file_format = FORMATS[suffix]
        self._suffix = suffix
        self._rate = rate
        self._resources = resources
        self._num_frames = 0
        self._audio: FollowingAudio | None = None
        self._output: OutputContainer = resources.enter_context(
            av.open(str(target), "w", format=file_format.name, options=dict(file_format.options))
        )
        self._output.metadata.update(metadata)
        encoder = available_encoder(file_format)
        self._padding = _even_padding(size)
        self._stream = _add_video_stream(self._output, encoder, rate, size, self._padding)

    def follow_audio(self, path: Path, *, start_seconds: float) -> None:
        """Copy the sound of a file, heard from `start_seconds` on at the first frame; before any frame is written."""
        self._audio = FollowingAudio(
            path, start_seconds=start_seconds, output=self._output, suffix=self._suffix, resources=self._resources
        )

    def write(self, frame: npt.NDArray[np.uint8]) -> None:
        """Append one frame, uint8 [height, width, 3]."""
        from av import VideoFrame

        right, bottom = self._padding
        if right or bottom:
            frame = np.pad(frame, ((0, bottom), (0, right), (0, 0)), mode="edge")
        picture = VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        # The matrix that the stream's tags promise; without it FFmpeg takes BT.601 and reds turn orange.
        picture = picture.reformat(format="yuv420p", dst_colorspace="ITU709")
        picture.pts = self._num_frames
        picture.time_base = 1 / self._rate
        self._num_frames += 1
        self._output.mux(self._stream.encode(picture))
        self._write_audio()

    def finish(self) -> None:
        """Write what the encoders still hold."""
        self._output.mux(self._stream.encode(None))
        self._write_audio(is_last=True)

    def _write_audio(self, *, is_last: bool = False) -> None:
        if self._audio is None:
            return
        for packet in self._audio.packets_until(float(self._num_frames / self._rate), is_last=is_last):
            self._output.mux(packet)


def available_encoder(file_format: VideoFormat) -> VideoEncoder:
    """The first encoder of a kind of file that the installed PyAV has.

    Args:
        file_format: One of `FORMATS`.

    Raises:
        MediaError: It has none of them.
    """
    av = load_av()
    for encoder in file_format.encoders:
        if encoder.name in av.codecs_available and _can_encode(encoder.name):
            if encoder is not file_format.encoders[0]:
                wanted = file_format.encoders[0].name
                logger.warning("this PyAV has no %s encoder; %s is used, files grow larger", wanted, encoder.name)
            return encoder
    names = ", ".join(encoder.name for encoder in file_format.encoders)
    raise MediaError(
        f"a PyAV without an encoder for {file_format.name}",
        expected=f"one of {names}",
        fix="pip install --force-reinstall av, or choose another file name ending",
    )


def _can_encode(name: str) -> bool:
    av = load_av()
    try:
        av.Codec(name, "w")
    except (av.error.FFmpegError, ValueError):
        return False
    return True


def _even_padding(size: tuple[int, int]) -> tuple[int, int]:
    """Pixels to add at the right and the bottom: colour planes have half the size, and H.264 takes whole ones only."""
    width, height = size
    if width % 2 or height % 2:
        logger.info(
            "%dx%d is widened to %dx%d: video needs even sides",
            width,
            height,
            width + width % 2,
            height + height % 2,
        )
    return width % 2, height % 2


def _add_video_stream(
    output: OutputContainer,
    encoder: VideoEncoder,
    rate: Fraction,
    size: tuple[int, int],
    padding: tuple[int, int],
) -> VideoStream:
    stream = cast("VideoStream", output.add_stream(encoder.name, rate=rate, options=dict(encoder.options)))
    stream.width, stream.height = size[0] + padding[0], size[1] + padding[1]
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.time_base = 1 / rate
    context.color_primaries = context.color_trc = context.colorspace = _BT709
    context.color_range = _LIMITED_RANGE
    return stream
