"""Opening a media file so that every way it can be wrong becomes one clear `MediaError`."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from ..errors import MediaError, MissingExtraError
from ..phrases import phrase

if TYPE_CHECKING:
    from types import ModuleType

    from av.audio.frame import AudioFrame
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

logger = logging.getLogger(__name__)

AnyStream = TypeVar("AnyStream", bound="Stream")

# FFmpeg takes any text for terminal art and would render it; nobody means that.
_TEXT_DEMUXERS = frozenset({"tty"})
_READABLE = "an image (png, jpg, webp, gif, tiff ...) or a video (mp4, mov, mkv, webm, avi, gif ...)"


def load_av() -> ModuleType:
    """PyAV, imported when first needed.

    Raises:
        MissingExtraError: PyAV is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise MissingExtraError("av", "reading and writing video") from error
    return av


def checked_path(path: str | os.PathLike[str]) -> Path:
    """The absolute path of a file that exists and has content.

    Raises:
        MediaError: Nothing is there, it is a folder, it is empty or it may not be read.
    """
    resolved = Path(path).expanduser().resolve()
    if resolved.is_dir():
        raise MediaError(f"the folder {path}", expected="a media file", fix="name a file inside it")
    if not resolved.exists():
        raise MediaError(phrase("no file {path}", path=path), expected=_READABLE, fix="check the path and its spelling")
    if not os.access(resolved, os.R_OK):
        raise MediaError(f"no permission to read {path}", expected="a readable file", fix="change its permissions")
    if resolved.is_file() and resolved.stat().st_size == 0:
        raise MediaError(
            phrase("the empty file {path} (0 bytes)", path=path), expected=_READABLE, fix="copy or download it again"
        )
    return resolved


@contextmanager
def open_container(path: Path) -> Iterator[InputContainer]:
    """Open a clip or a sound file for reading.

    Args:
        path: An absolute path, as `checked_path` gives it (FFmpeg would take "a:b.mp4" for a network address).

    Raises:
        MediaError: FFmpeg does not know the content, or its header is damaged or cut off.
    """
    av = load_av()
    try:
        container = av.open(str(path), metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise MediaError(
            phrase("{path}, which cannot be opened as media ({reason})", path=path.name, reason=_reason(error)),
            expected=_READABLE,
            fix="it may be cut off, damaged or of another kind: play it in a video player, or export it again",
        ) from error
    with container:
        if container.format.name in _TEXT_DEMUXERS:
            raise MediaError(
                phrase("{path}, which is text", path=path.name), expected=_READABLE, fix="name a media file"
            )
        yield container


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The moving picture of a container; cover art does not count.

    Raises:
        MediaError: There is none.
    """
    for stream in container.streams.video:
        if not _is_cover_art(stream):
            stream.thread_type = "AUTO"  # type: ignore[assignment]
            return stream
    kinds = sorted({stream.type for stream in container.streams} - {"video"})
    raise MediaError(
        phrase(
            "{path} without a video stream (it has {streams})",
            path=path.name,
            streams=", ".join(kinds) or "no streams at all",
        ),
        expected="a file with moving pictures",
        fix="name a video or an image",
    )


def container_zero(container: InputContainer) -> float:
    """The presentation time, in seconds, that a player shows as 0:00."""
    av = load_av()
    return (container.start_time or 0) / av.time_base


def seconds(timestamp: int, stream: Stream) -> float:
    """A time stamp of a stream in seconds."""
    return float(timestamp * (stream.time_base or 0))  # a stream without a time base has no time stamps either


def readable_packets(container: InputContainer, stream: AnyStream) -> Iterator[Packet[AnyStream]]:
    """Packets of one stream up to the end or to where the file is damaged beyond reading on; logs the latter.

    The final, empty packet that flushes a decoder is yielded too.
    """
    av = load_av()
    packets = cast("Iterator[Packet[AnyStream]]", container.demux(stream))
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except (av.error.FFmpegError, OSError) as error:
            logger.warning(
                "%s: reading stopped early (%s); the file may be cut off", Path(container.name).name, _reason(error)
            )
            return
        yield packet


def seek_seconds(container: InputContainer, moment: float) -> bool:
    """Jump to the key frame at or before `moment` (seconds from a player's 0:00); False if the file cannot."""
    av = load_av()
    try:
        container.seek(int((moment + container_zero(container)) * av.time_base), backward=True)
    except (av.error.FFmpegError, OSError):
        return False
    return True


def warn_cut_off(path: Path, what: str) -> None:
    """Log that a file is shorter than it says."""
    logger.warning("%s seems to be cut off or damaged: %s; the rest is left out", path.name, what)


def no_frames(path: Path) -> MediaError:
    """The error for a video of which nothing can be decoded."""
    return MediaError(
        phrase("{path}, whose video has no frame that can be decoded", path=path.name),
        expected="at least one frame",
        fix="it may be cut off or damaged: play it in a video player, or export it again",
    )


def starts_too_late(path: Path, start_seconds: float) -> MediaError:
    """The error for a start that lies beyond the end of a clip."""
    return MediaError(
        f"{path.name}, which ends before {start_seconds:g} seconds", expected="a start inside it", fix="begin earlier"
    )


def frame_seconds(frame: VideoFrame | AudioFrame) -> float | None:
    """Presentation time of a decoded frame in seconds, if it has one."""
    if frame.pts is None or frame.time_base is None:
        return None
    return float(frame.pts * frame.time_base)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _is_cover_art(stream: VideoStream) -> bool:
    disposition = getattr(stream, "disposition", None)
    if disposition is None:  # PyAV below 13 does not tell; a single picture has no rate
        return stream.average_rate is None
    return bool(disposition & type(disposition).attached_pic)
