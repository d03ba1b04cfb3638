"""Reading clips and images as upright RGB frames at the model's rate.

Which frames of a clip are taken follows the official `load_video` exactly when its rate is constant. With a variable
rate the official code drifts out of sync; here time stamps decide (see `timeline.py`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..errors import ConfigError, MediaError
from ..geometry import MAX_FRAMES, NATIVE_FPS, resample_indices, snap_frames
from ..types import Clip
from .pictures import Picture, PlacedPictures, open_pictures
from .resize import Fit, resize_frame
from .source import checked_path, no_frames, warn_cut_off
from .stills import is_animation, open_image, to_rgb
from .timeline import Timeline

if TYPE_CHECKING:
    from PIL.Image import Image

FrameCallback = Callable[[int, int], Any]
"""(frames read, frames wanted); may raise to stop."""

_SCAN_MARGIN = 1.0  # seconds looked at beyond the last frame needed, to judge the rate


@dataclass(frozen=True)
class _Request:
    """What `read_clip` was asked for."""

    path: Path
    target_fps: float
    max_frames: int
    start_seconds: float
    size: tuple[int, int] | None
    fit: Fit
    on_frame: FrameCallback | None = None

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
    on_frame: FrameCallback | None = None,
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
        on_frame: Told after each frame of a clip.

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
    request = _Request(checked, float(target_fps), max_frames, float(start_seconds), size, fit, on_frame)
    with open_image(checked) as image:
        if image is not None and not is_animation(image):
            return _still_clip(image, request)
    with open_pictures(checked, start_seconds=request.start_seconds, end_seconds=request.end_seconds) as pictures:
        frames = _collect(pictures, request)
        return Clip(frames, request.target_fps, source_path=checked, start_seconds=pictures.start_seconds)


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


def _collect(pictures: PlacedPictures, request: _Request) -> torch.Tensor:
    """Take what is shown at the wanted grid positions.

    Returns:
        uint8 [F, H, W, 3], F of the form 4k + 1.
    """
    wanted = request.indices(pictures.timeline)
    frames: torch.Tensor | None = None
    num_taken = 0
    last: Any = None
    for num_taken, item in enumerate(pictures.at(wanted), start=1):
        if item is not last:  # a frame may be wanted several times in a row
            picture = torch.from_numpy(np.ascontiguousarray(request.fitted(pictures.to_picture(item))))
            last = item
        if frames is None:  # whole at once: joining single frames would need the memory twice
            frames = torch.empty((len(wanted), *picture.shape), dtype=torch.uint8)
        frames[num_taken - 1] = picture
        if request.on_frame is not None:
            request.on_frame(num_taken, len(wanted))
    if frames is None:
        raise no_frames(request.path)
    if num_taken < len(wanted):
        warn_cut_off(request.path, f"{num_taken} of the {len(wanted)} frames needed could be read")
    return frames[: snap_frames(num_taken)]
