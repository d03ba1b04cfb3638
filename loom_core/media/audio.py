"""Sound that follows a picture: copied from a source file into a video being written, in step with it.

The codec's packets are copied as they are where the container takes them, so nothing is lost and sync holds to a
packet (about 20 ms at the cut); other codecs are decoded, cut to the sample, and encoded anew.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np
import numpy.typing as npt

from ..errors import MediaError
from .source import (
    checked_path,
    container_zero,
    frame_seconds,
    load_av,
    open_container,
    readable_packets,
    seconds,
    seek_seconds,
)

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet

logger = logging.getLogger(__name__)

T = TypeVar("T")
Samples = npt.NDArray[np.float32]  # [channels, samples]

_LOSSY = frozenset({"aac", "mp3", "mp3float", "ac3", "eac3", "alac"})
_OPEN = frozenset({"opus", "libopus", "vorbis", "libvorbis"})
_COPIED: dict[str, frozenset[str]] = {
    ".mp4": _LOSSY | {"opus", "libopus"},
    ".mov": _LOSSY,
    ".mkv": _LOSSY | _OPEN | {"flac"},
    ".webm": _OPEN,
}
"""Decoder names whose packets each kind of file takes and common players then play (PCM's are too long to cut at)."""
_ENCODERS: dict[str, str] = {".mp4": "aac", ".mov": "aac", ".mkv": "aac", ".webm": "libopus"}
_ROUNDING = 0.001  # seconds; Matroska counts in milliseconds
_HIDES_PREROLL = frozenset({".mp4", ".mov"})  # by an edit list; other files would delay the picture instead
_OPUS_RATE = 48000
_RATES = (44100, 48000)
_BIT_RATE = 192_000
LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
"""Number of channels -> layout; anything else is mixed to stereo."""
MAX_DRIFT = 0.04
"""Seconds between time stamp and samples before one is believed over the other."""
PREROLL = 0.1
"""Seconds before the start from which reading begins, since codecs need to get going."""


class FollowingAudio:
    """The sound of a file as packets for a video being written; damage ends the sound with a warning, not the video.

    Args:
        path: Where the sound comes from.
        start_seconds: What is heard at the first video frame, from the source's 0:00.
        output: The file being written; its header must not be written yet.
        suffix: Kind of that file (".mp4").
        resources: Closes the source when the writing ends.
    """

    def __init__(
        self, path: Path, *, start_seconds: float, output: OutputContainer, suffix: str, resources: ExitStack
    ) -> None:
        self._name = path.name
        self._track: _CopiedTrack | _EncodedTrack | None = None
        try:
            source = resources.enter_context(open_container(checked_path(path)))
            self._track = _open_track(source, start_seconds, output, suffix)
        except failures() as error:
            self._give_up(error)

    def packets_until(self, moment: float, *, is_last: bool = False) -> Iterator[Packet]:
        """Packets of what is heard before `moment` (seconds from the first video frame) and was not given yet.

        Args:
            moment: Must not fall from call to call.
            is_last: True at the end of the video; an encoder then gives what it still holds.
        """
        if self._track is None:
            return
        try:
            yield from self._track.packets_until(moment, is_last=is_last)
        except failures() as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        logger.warning("the sound of %s cannot be copied (%s); the video goes on without it", self._name, error)
        self._track = None


class _CopiedTrack:
    """Packets as they are, moved in time."""

    def __init__(self, packets: Iterator[Packet], source: AudioStream, start: float, target: AudioStream) -> None:
        self._packets = packets
        self._source = source
        self._target = target
        self._shift = round(start / (source.time_base or 1))
        self._next: Packet | None = next(packets, None)

    def packets_until(self, moment: float, *, is_last: bool) -> Iterator[Packet]:
        del is_last
        while self._next is not None:
            packet = self._next
            begin = (packet.pts or 0) - self._shift
            if seconds(begin, self._source) + seconds(packet.duration or 0, self._source) / 2 > moment:
                return
            packet.stream = self._target
            packet.pts = packet.dts = begin  # sound is stored in the order in which it is heard
            yield packet
            self._next = next(self._packets, None)


class _EncodedTrack:
    """Samples cut exactly at start and end, encoded anew."""

    def __init__(self, blocks: Iterator[tuple[float, Samples]], target: AudioStream, layout: str) -> None:
        self._blocks = blocks
        self._target = target
        self._layout = layout
        self._rate = target.codec_context.sample_rate
        self._num_read = 0  # samples since the first video frame
        self._num_sent = 0
        self._held: list[Samples] = []

    def packets_until(self, moment: float, *, is_last: bool) -> Iterator[Packet]:
        end = round(moment * self._rate)
        while self._num_read < end:
            block = next(self._blocks, None)
            if block is None:
                break
            self._take(*block)
        if self._held:
            samples = np.concatenate(self._held, axis=1)  # [channels, samples]
            count = max(0, end - self._num_sent)
            self._held = [samples[:, count:]]
            if samples[:, :count].size:
                yield from self._target.encode(self._frame(samples[:, :count]))
        if is_last:
            yield from self._target.encode(None)

    def _take(self, moment: float, samples: Samples) -> None:
        """Append a block that is heard at `moment`, with silence in front where some is missing."""
        offset = round(moment * self._rate) - self._num_read
        if offset < 0 and self._num_read == 0:
            samples = samples[:, -offset:]
        elif offset > MAX_DRIFT * self._rate:
            samples = np.pad(samples, ((0, 0), (offset, 0)))
        self._held.append(samples)
        self._num_read += samples.shape[1]

    def _frame(self, samples: Samples) -> AudioFrame:
        from av import AudioFrame

        frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=self._layout)
        frame.sample_rate = self._rate
        frame.time_base = Fraction(1, self._rate)
        frame.pts = self._num_sent
        self._num_sent += samples.shape[1]
        return frame


def _open_track(
    source: InputContainer, start_seconds: float, output: OutputContainer, suffix: str
) -> _CopiedTrack | _EncodedTrack | None:
    """The track, or None for a silent file."""
    if not source.streams.audio:
        return None
    stream = source.streams.audio[0]
    start = start_seconds + container_zero(source)
    if start_seconds > PREROLL:
        seek_seconds(source, start_seconds - PREROLL)
    if stream.codec_context.name in _COPIED[suffix]:
        packets = _peeked(_packets_from(source, stream, start - (PREROLL if suffix in _HIDES_PREROLL else _ROUNDING)))
        return _CopiedTrack(packets, stream, start, _copied_stream(output, stream)) if packets else None
    layout = LAYOUTS.get(stream.codec_context.channels, "stereo")
    rate = stream.codec_context.sample_rate
    rate = rate if rate in _RATES and suffix != ".webm" else _OPUS_RATE
    blocks = _peeked(decoded_blocks(source, stream, start=start, layout=layout, rate=rate))
    if blocks is None:
        return None
    target = cast("AudioStream", output.add_stream(_ENCODERS[suffix], rate=rate))
    target.codec_context.layout = layout
    target.codec_context.bit_rate = _BIT_RATE
    return _EncodedTrack(blocks, target, layout)


def _packets_from(container: InputContainer, stream: AudioStream, earliest: float) -> Iterator[Packet]:
    for packet in readable_packets(container, stream):
        if not packet.size or packet.pts is None or packet.is_corrupt:
            continue
        if seconds(packet.pts, stream) >= earliest:
            yield packet


def decoded_blocks(
    container: InputContainer, stream: AudioStream, *, start: float, layout: str, rate: int
) -> Iterator[tuple[float, Samples]]:
    """Decode what is heard from a moment on, a block at a time; damage is left out and logged.

    Args:
        container: Where the stream lies, at or before the moment.
        stream: The sound.
        start: The moment, as the container's time stamps count, in seconds.
        layout: FFmpeg's name of the channels wanted.
        rate: Samples a second wanted.

    Yields:
        (seconds from `start`, float32 samples [channels, n]); the first block may begin before it.

    Raises:
        MediaError: The sound changes its format on the way.
    """
    from av import AudioResampler

    resampler = AudioResampler(format="fltp", layout=layout, rate=rate)
    for packet in readable_packets(container, stream):
        try:
            frames = packet.decode()
        except load_av().error.FFmpegError as error:
            logger.warning("a damaged part of the sound is replaced by silence (%s)", error)
            continue
        for frame in frames:
            moment = frame_seconds(frame)
            if moment is None:
                continue
            with _refusals("sound whose format changes on the way"):
                parts = resampler.resample(frame)
            samples = [part.to_ndarray() for part in parts]
            if samples and moment - start + frame.samples / frame.sample_rate > 0:
                yield moment - start, np.concatenate(samples, axis=1)


def _peeked(items: Iterator[T]) -> Iterator[T] | None:
    """The same items, or None if there are none: an empty sound track would puzzle players."""
    first = next(items, None)
    return None if first is None else chain([first], items)


def _copied_stream(output: OutputContainer, stream: AudioStream) -> AudioStream:
    with _refusals(f"{stream.codec_context.name} sound, which {output.format.name} does not take"):
        if hasattr(output, "add_stream_from_template"):
            return output.add_stream_from_template(stream)
        return output.add_stream(template=stream)  # type: ignore[call-overload, no-any-return]  # PyAV below 14


@contextmanager
def _refusals(what: str) -> Iterator[None]:
    """Turn what PyAV raises of itself into a `MediaError`; for single calls, lest our faults pass for that."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        raise MediaError(f"{what} ({error})", expected="sound that PyAV can copy or encode") from error


def failures() -> tuple[type[Exception], ...]:
    """What a damaged or unusual sound track raises on the way, or an FFmpeg without the encoder needed."""
    from av.codec.codec import UnknownCodecError

    return (MediaError, load_av().error.FFmpegError, UnknownCodecError)
