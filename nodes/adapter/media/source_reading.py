"""A source at the model's rate and size, and what it was before.

Which frames are taken is the official choice (`loom_core.geometry.resample_indices`), for files with a variable rate by
their time stamps. A file is decoded frame by frame and no further than needed; its originals are decoded again when an
edit is given back, since in full resolution they would take gigabytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from ....loom_core.errors import ConfigError, MediaError
from ....loom_core.geometry import check_size, resample_indices, snap_frames
from ....loom_core.media.decode import FrameCallback, read_clip
from ....loom_core.media.original import find_part
from ....loom_core.media.probe import MediaInfo, probe
from ....loom_core.media.resize import Fit
from ....loom_core.media.sound import read_sound
from ....loom_core.request import MAX_FPS
from ....loom_core.vae.latents import RGB
from ...sockets import SourceOrigin
from ..memory import require_memory
from .audio import part_of
from .pictures import RGBFrames, as_floats, check_images, fitted_frames
from .video_input import VideoFile, video_file, video_in_memory

_WHAT = "the source"
_BYTES_A_PIXEL = RGB * 3 * 4
"""Three times as floats: as they are, and twice while a VAE encodes them, where a source needs most (measured)."""


@dataclass(frozen=True)
class SourceRequest:
    """How a source is wanted.

    Args:
        width: In pixels, a multiple of 32.
        height: The same.
        fit: How the size is filled.
        fps: Working rate, frames a second.
        max_frames: Longest result; it is cut to 4k + 1 frames.
        start_seconds: Where to begin.
        image_fps: Rate of an IMAGE, which has none of its own.
    """

    width: int
    height: int
    fit: Fit
    fps: float
    max_frames: int
    start_seconds: float
    image_fps: float

    def __post_init__(self) -> None:
        """Refuse numbers that make no sense; the host does not look at those that come by a link.

        Raises:
            ConfigError: A number is out of range.
        """
        check_size(self.width, self.height)
        for name, rate in (("fps", self.fps), ("source_fps", self.image_fps)):
            if not 0 < rate <= MAX_FPS:
                raise ConfigError(f"{name} {rate:g}", expected=f"above 0, at most {MAX_FPS:g}", fix="24 is trained")
        if self.max_frames < 1:
            raise ConfigError(f"max_frames {self.max_frames}", expected="at least 1", fix="121 is trained")
        if not 0 <= self.start_seconds < math.inf:
            raise ConfigError(f"start_seconds {self.start_seconds:g}", expected="0 or later", fix="use 0")


@dataclass(frozen=True)
class SourceReading:
    """A source as it was read.

    Args:
        frames: float32 [4k + 1, height, width, 3] in [0, 1].
        origin: What it was before.
        first_frame: Number, at the source's own rate, of its first frame in what was connected.
        notices: Sentences for the user: what was left out.
    """

    frames: Tensor
    origin: SourceOrigin
    first_frame: int
    notices: tuple[str, ...]


def read_source(source: Any, request: SourceRequest, *, on_frame: FrameCallback | None = None) -> SourceReading:
    """Read a source.

    Args:
        source: The host's VIDEO or IMAGE.
        request: How it is wanted.
        on_frame: Told after each frame; may raise to stop.

    Raises:
        MediaError: It is neither, is empty or damaged, or ends before the start.
        ResourceError: There is not enough memory for its pictures.
    """
    if isinstance(source, Tensor):
        return _from_images(source, request, fps=request.image_fps, on_frame=on_frame)
    file = video_file(source)
    if file is not None:
        return _from_file(file, request, on_frame)
    components = video_in_memory(source)
    return _from_images(
        components.images, request, fps=float(components.frame_rate), audio=components.audio, on_frame=on_frame
    )


def _from_images(
    images: Tensor,
    request: SourceRequest,
    *,
    fps: float,
    audio: Mapping[str, Any] | None = None,
    on_frame: FrameCallback | None = None,
) -> SourceReading:
    check_images(images, what=_WHAT)
    first, total = round(request.start_seconds * fps), images.shape[0]
    if first >= total:
        raise MediaError(
            f"a source of {total} frames, which ends before {request.start_seconds:g} seconds",
            expected="a start inside it",
            fix="begin earlier",
        )
    part = images[first:]
    wanted = resample_indices(fps, len(part), target_fps=request.fps, max_frames=request.max_frames)
    _check_room(len(wanted), request)
    frames = fitted_frames(
        part, wanted, size=(request.width, request.height), fit=request.fit, what=_WHAT, on_frame=on_frame
    )
    count = min(len(part), _own_count(len(wanted), request, fps))
    origin = _origin(
        RGBFrames(part[:count], _WHAT),
        (images.shape[2], images.shape[1]),
        fps=fps,
        fit=request.fit,
        audio=part_of(audio, first / fps, count / fps),
    )
    return SourceReading(frames, origin, first, _notices(len(wanted), len(part), len(part) / fps, request))


def _from_file(file: VideoFile, request: SourceRequest, on_frame: FrameCallback | None) -> SourceReading:
    info = probe(file.path)
    start = file.start_seconds + request.start_seconds
    left = max(0.0, info.duration_seconds - start)
    limit = request.max_frames
    if file.seconds is not None:
        left = min(left, file.seconds - request.start_seconds)
        if left <= 0:
            raise MediaError(
                f"a part of {file.seconds:g} seconds of {file.path.name}, with a start at {request.start_seconds:g}",
                expected="a start inside it",
                fix="begin earlier",
            )
        limit = min(limit, max(1, math.ceil(left * request.fps - 0.5)))
    _check_room(min(limit, math.ceil(left * request.fps) + 1), request)
    clip = read_clip(
        file.path,
        target_fps=request.fps,
        max_frames=limit,
        start_seconds=start,
        size=(request.width, request.height),
        fit=request.fit,
        on_frame=on_frame,
    )
    frames = as_floats(clip.frames)
    origin = _origin_of_file(file, info, request, start=start, shown=clip.start_seconds, num_frames=len(frames))
    # counted from where the connected part begins: whoever makes a mask for it sees no more of the file
    first_frame = round(request.start_seconds * origin.fps)
    return SourceReading(frames, origin, first_frame, _notices(len(frames), round(left * info.fps), left, request))


def _origin_of_file(
    file: VideoFile, info: MediaInfo, request: SourceRequest, *, start: float, shown: float, num_frames: int
) -> SourceOrigin:
    """What the file holds of the part; `shown` is where its first frame truly lies."""
    size = info.width, info.height
    if info.is_image:  # a VIDEO may be a picture
        still = as_floats(read_clip(file.path).frames)
        return _origin(RGBFrames(still, _WHAT), size, fps=request.fps, fit=request.fit, audio=None)
    part = find_part(file.path, start_seconds=start, seconds=num_frames / request.fps)
    if num_frames == 1:
        part = replace(part, num_frames=1)
    sound = read_sound(file.path, start_seconds=shown, seconds=len(part) / part.fps)
    audio = None if sound is None else {"waveform": sound.samples[None], "sample_rate": sound.rate}
    return _origin(_Decoded(part), size, fps=part.fps, fit=request.fit, audio=audio)


class _Decoded:
    """The frames of a part of a file as floats, decoded anew each time they are gone through.

    Args:
        part: Gives uint8 [height, width, 3].
    """

    def __init__(self, part: Any) -> None:
        self._part = part

    def __len__(self) -> int:
        return len(self._part)

    def __iter__(self) -> Any:
        return (as_floats(frame) for frame in self._part)


def _origin(
    frames: Any, size: tuple[int, int], *, fps: float, fit: Fit, audio: Mapping[str, Any] | None
) -> SourceOrigin:
    width, height = size
    return SourceOrigin(
        width=width, height=height, num_frames=len(frames), fps=fps, frames=frames, audio=audio, fit=fit
    )


def _own_count(num_frames: int, request: SourceRequest, fps: float) -> int:
    """Frames at a source's own rate that last as long as those of the result; a still is one."""
    return 1 if num_frames == 1 else max(1, math.floor(num_frames / request.fps * fps + 0.5))


def _check_room(num_frames: int, request: SourceRequest) -> None:
    """Refuse a source whose pictures would not fit."""
    one = request.width * request.height * _BYTES_A_PIXEL

    def fitting(spare: float) -> str:
        frames = int(spare // one)
        return f"at most {snap_frames(frames)} frames of this size" if frames else "a smaller size"

    require_memory(
        f"a source of {num_frames} frames of {request.width} x {request.height}, which takes",
        num_frames * one,
        expected=fitting,
        fix="lower max_frames, width or height",
    )


def _notices(num_frames: int, there: int, seconds: float, request: SourceRequest) -> tuple[str, ...]:
    """What of a source is left out, in words."""
    if num_frames == 1 and there > 1:
        return (f"{there} frames, of which the first is edited as a still (a clip has 5 or more)",)
    taken = num_frames / request.fps
    if there > 1 and seconds - taken > 0.5 / request.fps:
        why = "max_frames" if seconds * request.fps > request.max_frames else "a clip has 4k + 1 frames"
        return (f"the first {taken:.2f} s of {seconds:.2f} s are edited ({why})",)
    return ()
