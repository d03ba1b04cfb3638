"""Writing results: videos with the sound of their source, and images, each with the request in its metadata."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ..atomic import atomic_target
from ..errors import ConfigError, MediaError
from ..types import Clip
from .animation import save_gif
from .metadata import KEY, image_options, pack
from .resize import check_frames_tensor
from .source import load_av
from .targets import check_target
from .video_writer import VideoWriter, exact_rate

_IMAGE_FORMATS: dict[str, tuple[str, Mapping[str, object]]] = {
    ".png": ("PNG", {}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".webp": ("WEBP", {"quality": 95}),
}


def write_video(
    path: str | os.PathLike[str],
    chunks: Iterable[Tensor],
    *,
    fps: float | Fraction,
    size: tuple[int, int],
    audio_from: Clip | str | os.PathLike[str] | None = None,
    audio_start_seconds: float | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a video as its frames arrive; memory does not grow with its length (a gif's pictures are held, small).

    The file appears whole or not at all. H.264 in mp4, mov and mkv, VP9 in webm; colours are BT.709. Video
    needs even sides: an odd one is widened by a copy of its last line. A gif keeps odd sides and has no sound.

    Args:
        path: Where to write; its ending is one of `VIDEO_SUFFIXES`.
        chunks: uint8 [f, height, width, 3] each, RGB, any f, in order.
        fps: Frames a second; 23.976 and 29.97 are taken as 24000/1001 and 30000/1001.
        size: (width, height) of the frames in pixels.
        audio_from: Whose sound to copy: a clip (from where that begins in its file) or a path. A silent file is fine;
            a damaged sound track is left out with a warning.
        audio_start_seconds: What is heard at the first frame, from the source's 0:00; None for the clip's own start,
            or 0 for a path.
        metadata: Stored so that `read_metadata` gives it back.

    Raises:
        ConfigError: `fps` or `size` makes no sense.
        MediaError: The name's ending is unknown, there is no frame, or a frame is of another size.
        OutputError: The place cannot be written.
        ResourceError: The disk is full.
        MissingExtraError: PyAV is not installed.

    Example:
        >>> clip = read_clip("source.mp4")
        >>> write_video("copy.mp4", [clip.frames], fps=clip.fps, size=clip.size, audio_from=clip)
    """
    check_target(path, is_image=False)
    if not 0 < fps < float("inf"):
        raise ConfigError(f"fps {fps}", expected="a rate above 0", fix="use 24")
    if min(size) < 1:
        raise ConfigError(f"size {size[0]}x{size[1]}", expected="at least 1x1", fix="give the size of the frames")
    target = Path(path).expanduser().absolute()
    frames = _checked_frames(chunks, size)
    stored = metadata or {}
    with atomic_target(target) as temporary:
        if target.suffix.lower() == ".gif":
            save_gif(temporary, frames, rate=exact_rate(float(fps)), options=image_options(".gif", stored))
            return
        sound = _sound(audio_from, audio_start_seconds)
        _encode(
            temporary,
            frames,
            suffix=target.suffix.lower(),
            rate=exact_rate(float(fps)),
            size=size,
            sound=sound,
            metadata=stored,
        )


def write_image(path: str | os.PathLike[str], frame: Tensor, *, metadata: Mapping[str, str] | None = None) -> None:
    """Write one frame as an image; the file appears whole or not at all.

    Args:
        path: Where to write; its ending is one of `IMAGE_SUFFIXES`.
        frame: uint8 [height, width, 3] or [1, height, width, 3], RGB.
        metadata: Stored so that `read_metadata` gives it back.

    Raises:
        MediaError: The name's ending is unknown, or `frame` is no picture.
        OutputError: The place cannot be written.
        ResourceError: The disk is full.
    """
    from PIL import Image

    check_target(path, is_image=True)
    frames = frame if frame.ndim == 4 else frame[None]  # noqa: PLR2004 - [1, H, W, 3]
    check_frames_tensor(frames)
    if len(frames) != 1:
        raise MediaError(f"{len(frames)} frames for one image", expected="1", fix="write a video, or choose a frame")
    target = Path(path).expanduser().absolute()
    suffix = target.suffix.lower()
    format_name, options = _IMAGE_FORMATS[suffix]
    with atomic_target(target) as temporary:
        picture = Image.fromarray(frames[0].cpu().numpy())
        picture.save(temporary, format=format_name, **options, **image_options(suffix, metadata or {}))


def _checked_frames(chunks: Iterable[Tensor], size: tuple[int, int]) -> Iterator[npt.NDArray[np.uint8]]:
    width, height = size
    count = 0
    for chunk in chunks:
        check_frames_tensor(chunk)
        if tuple(chunk.shape[1:3]) != (height, width):
            raise MediaError(
                f"frames of {chunk.shape[2]}x{chunk.shape[1]}", expected=f"{width}x{height}", fix="resize them first"
            )
        count += len(chunk)
        yield from chunk.cpu().numpy()
    if not count:
        raise MediaError("no frames to write", expected="at least one", fix="check what makes the frames")


def _sound(audio_from: Clip | str | os.PathLike[str] | None, start_seconds: float | None) -> tuple[Path, float] | None:
    if isinstance(audio_from, Clip):
        if audio_from.source_path is None or audio_from.is_image:
            return None
        start = audio_from.start_seconds if start_seconds is None else start_seconds
        return audio_from.source_path, start
    return None if audio_from is None else (Path(audio_from), start_seconds or 0.0)


def _encode(
    temporary: Path,
    frames: Iterator[npt.NDArray[np.uint8]],
    *,
    suffix: str,
    rate: Fraction,
    size: tuple[int, int],
    sound: tuple[Path, float] | None,
    metadata: Mapping[str, str],
) -> None:
    av = load_av()
    tags = {KEY: pack(metadata)} if metadata else {}
    try:
        with ExitStack() as resources:
            writer = VideoWriter(temporary, suffix=suffix, rate=rate, size=size, metadata=tags, resources=resources)
            if sound is not None:
                writer.follow_audio(sound[0], start_seconds=sound[1])
            for frame in frames:
                writer.write(frame)
            writer.finish()
    except av.error.FFmpegError as error:
        if isinstance(error, OSError):  # the disk, not the picture: `atomic_target` explains it
            raise
        raise MediaError(
            f"frames that the encoder refuses ({error})",
            expected=f"a video of {size[0]}x{size[1]} at {float(rate):g} frames a second",
            fix="try another size or file name ending",
        ) from error
