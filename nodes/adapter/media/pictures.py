"""ComfyUI's IMAGE as frames of one kind, colour and size, and what is no picture refused."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....loom_core.errors import MediaError
from ....loom_core.geometry import snap_size
from ....loom_core.media.decode import FrameCallback
from ....loom_core.media.resize import Fit, resize_frame
from ....loom_core.vae.latents import RGB

_GREY, _RGBA = 1, 4
_IMAGE_DIMENSIONS = 4
_LEVELS = 255.0


def check_images(images: Any, *, what: str) -> None:
    """Refuse what is no IMAGE, or an empty one; the values are looked at when they are used.

    Args:
        images: Should be [frames, height, width, channels], of 1, 3 or 4 channels.
        what: What it is, for the message ("the source").

    Raises:
        MediaError: It is something else.
    """
    shape = list(images.shape) if isinstance(images, Tensor) else []
    if len(shape) == _IMAGE_DIMENSIONS and shape[-1] in (_GREY, RGB, _RGBA) and 0 not in shape:
        return
    if len(shape) == _IMAGE_DIMENSIONS and 0 in shape:
        found = f"{what} without a single {'frame' if shape[0] == 0 else 'pixel'}"
    else:
        found = f"{what} of shape {shape}" if shape else f"{what} of type {type(images).__name__}"
    raise MediaError(found, expected="an IMAGE of one frame or more, in colour or grey", fix="check what is connected")


@dataclass(frozen=True)
class RGBFrames:
    """The frames of an IMAGE, turned into RGB only as they are gone through.

    Args:
        images: [frames, height, width, channels], of 1, 3 or 4 channels.
        what: What it is, for messages.
    """

    images: Tensor
    what: str

    def __len__(self) -> int:
        """Number of frames."""
        return self.images.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        """Each frame, see `rgb_frame`."""
        return (rgb_frame(frame, what=self.what) for frame in self.images)


def rgb_frame(frame: Tensor, *, what: str) -> Tensor:
    """One frame in colour, transparency laid over white, as when files are read.

    Args:
        frame: [height, width, 1, 3 or 4].
        what: What it belongs to, for the message.

    Returns:
        float32 [height, width, 3] in [0, 1], on the CPU.

    Raises:
        MediaError: It has values that are not numbers.
    """
    frame = frame.to("cpu", torch.float32)
    if not bool(torch.isfinite(frame).all()):
        raise MediaError(
            f"{what} with values that are not numbers (NaN or infinite)",
            expected="values in [0, 1]",
            fix="check the node that made it, such as a VAE in half precision",
        )
    frame = frame.clamp(0, 1)
    if frame.shape[-1] == _RGBA:
        colours, alpha = frame[..., :RGB], frame[..., RGB:]
        return colours * alpha + (1 - alpha)
    return frame.expand(-1, -1, RGB) if frame.shape[-1] == _GREY else frame


def fitted_frames(
    images: Tensor,
    wanted: Sequence[int],
    *,
    size: tuple[int, int],
    fit: Fit,
    what: str,
    on_frame: FrameCallback | None = None,
) -> Tensor:
    """Some frames of an IMAGE at another size, resized as the model's training material was.

    Args:
        images: [frames, height, width, channels], see `check_images`.
        wanted: Numbers of the frames, in the order of the result.
        size: (width, height) in pixels.
        fit: How the size is filled.
        what: What it is, for messages.
        on_frame: Told after each frame.

    Returns:
        float32 [len(wanted), height, width, 3] in [0, 1], on the CPU.

    Raises:
        MediaError: A frame has values that are not numbers.
    """
    width, height = size
    frames = torch.empty(len(wanted), height, width, RGB)
    for position, number in enumerate(wanted):
        if position and number == wanted[position - 1]:
            frames[position] = frames[position - 1]
        else:
            frames[position] = _fitted(rgb_frame(images[number], what=what), width, height, fit)
        if on_frame is not None:
            on_frame(position + 1, len(wanted))
    return frames


def _fitted(frame: Tensor, width: int, height: int, fit: Fit) -> Tensor:
    if tuple(frame.shape[:2]) == (height, width):
        return frame
    return as_floats(resize_frame(as_levels(frame), width=width, height=height, fit=fit))


def as_levels(frame: Tensor) -> np.ndarray:
    """float32 [..., 3] in [0, 1] as uint8, rounded."""
    return (frame * _LEVELS).round_().to(torch.uint8).numpy()


def as_floats(levels: np.ndarray | Tensor) -> Tensor:
    """uint8 as float32 in [0, 1]."""
    return torch.as_tensor(levels).to(torch.float32).div_(_LEVELS)


def native_size(width: int, height: int, *, max_pixels: int) -> tuple[int, int]:
    """The size nearest to a picture's own that the model can have.

    Args:
        width: Of the picture, in pixels.
        height: The same.
        max_pixels: Above which it is scaled down, keeping its shape.

    Returns:
        (width, height), multiples of 32 pixels.
    """
    scale = min(1.0, math.sqrt(max_pixels / (width * height)))
    return snap_size(width * scale, height * scale)
