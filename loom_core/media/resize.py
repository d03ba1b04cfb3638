"""Bringing frames to a size, and uint8 frames to and from the model's pixels.

The resize is Pillow's antialiased bilinear one, as torchvision calls it in the official code, so results are equal to
the bit.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from torch import Tensor

from ..errors import ConfigError, MediaError
from ..geometry import TEMPORAL_STRIDE, contain_box, cover_crop

Fit = Literal["cover", "contain", "stretch"]
_CHANNELS = 3


def resize_frame(frame: npt.NDArray[np.uint8], *, width: int, height: int, fit: Fit = "cover") -> npt.NDArray[np.uint8]:
    """Bring one frame [h, w, 3] to [height, width, 3]; see `resize_and_crop`."""
    if fit not in get_args(Fit):
        raise ConfigError(f"fit {fit!r}", expected=f"one of {', '.join(get_args(Fit))}", fix="use cover")
    if min(width, height) < 1:
        raise ConfigError(f"size {width}x{height}", expected="at least 1x1", fix="give a width and height in pixels")
    if fit == "cover":
        return _cover(frame, width, height)
    if fit == "contain":
        return _contain(frame, width, height)
    return _scaled(frame, width, height)


def resize_and_crop(frames: Tensor, *, width: int, height: int, fit: Fit = "cover") -> Tensor:
    """Bring frames to a size.

    Args:
        frames: uint8 [F, h, w, 3].
        width: Target width in pixels.
        height: Target height in pixels.
        fit: "cover" scales to fill the target and cuts the centre, as the model was trained; "contain" scales to fit
            into it and adds black bars; "stretch" ignores the aspect ratio.

    Returns:
        uint8 [F, height, width, 3].

    Raises:
        ConfigError: The size or `fit` makes no sense.
        MediaError: `frames` are not uint8 [F, h, w, 3].

    Source: official `resize_and_crop`.
    """
    check_frames_tensor(frames)
    if tuple(frames.shape[1:3]) == (height, width):
        return frames
    resized = torch.empty((frames.shape[0], height, width, _CHANNELS), dtype=torch.uint8)
    for target, frame in zip(resized, frames.cpu().numpy(), strict=True):
        target.copy_(torch.from_numpy(resize_frame(frame, width=width, height=height, fit=fit)))
    return resized


def to_pixels(frames: Tensor) -> Tensor:
    """uint8 frames [F, H, W, 3] as the codec's pixels: float32 [3, F, H, W] in [-1, 1].

    Source: torchvision's ToTensor, then Normalize(0.5, 0.5), with their order of operations.
    """
    check_frames_tensor(frames)
    levels = rearrange(frames, "f h w c -> c f h w")  # a view: one float copy of the clip, in its final order
    pixels = levels.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
    return pixels.div_(255.0).sub_(0.5).div_(0.5)


def to_frames(pixels: Tensor) -> Tensor:
    """Pixels [3, F, H, W] in [-1, 1] (beyond is clipped) as uint8 frames [F, H, W, 3].

    The official code cuts off the decimals, which darkens every picture by half a level and loses a whole level where
    the codec returns 127.9999. Rounding does neither, and `to_frames(to_pixels(frames))` gives `frames` back.

    Args:
        pixels: Of any length: what is needed besides the result is no more than a few frames.

    Returns:
        The frames, on the device of `pixels`.

    Raises:
        MediaError: `pixels` are of another shape or hold values that are not numbers.
    """
    if pixels.ndim != 4 or pixels.shape[0] != _CHANNELS:  # noqa: PLR2004 - [C, F, H, W]
        raise MediaError(f"pixels of shape {list(pixels.shape)}", expected="[3, frames, height, width]")
    num_frames, height, width = pixels.shape[1:]
    frames = torch.empty(num_frames, height, width, _CHANNELS, dtype=torch.uint8, device=pixels.device)
    for target, part in zip(frames.split(TEMPORAL_STRIDE), pixels.detach().split(TEMPORAL_STRIDE, dim=1), strict=True):
        target.copy_(_levels(part))
    return frames


def _levels(pixels: Tensor) -> Tensor:
    """`to_frames` of a few frames."""
    if not bool(torch.isfinite(pixels).all()):
        raise MediaError(
            "pixels that are not numbers (NaN or infinite)",
            expected="values in [-1, 1]",
            fix="check the weights with cli.inspect, and use a precision with more range (bf16 or fp32, not fp16)",
        )
    levels = pixels.to(torch.float32).add(1.0).mul_(127.5).round_().clamp_(0, 255)
    return rearrange(levels, "c f h w -> f h w c")


def check_frames_tensor(frames: Tensor) -> None:
    """Refuse what is not uint8 [F, H, W, 3].

    Raises:
        MediaError: Shape or type differs.
    """
    if frames.ndim != 4 or frames.shape[-1] != _CHANNELS or frames.dtype != torch.uint8:  # noqa: PLR2004
        raise MediaError(
            f"frames of shape {list(frames.shape)} and type {frames.dtype}",
            expected="uint8 [frames, height, width, 3]",
            fix="convert pixels with to_frames first",
        )


def _scaled(frame: npt.NDArray[np.uint8], width: int, height: int) -> npt.NDArray[np.uint8]:
    from PIL import Image

    return np.array(Image.fromarray(frame).resize((width, height), Image.Resampling.BILINEAR))


def _cover(frame: npt.NDArray[np.uint8], width: int, height: int) -> npt.NDArray[np.uint8]:
    # The scaled picture is never a pixel short: scaling a side by (target / side) rounds back to the target.
    crop = cover_crop(frame.shape[1], frame.shape[0], target_width=width, target_height=height)
    scaled = _scaled(frame, crop.scaled_width, crop.scaled_height)
    return np.ascontiguousarray(scaled[crop.top : crop.top + height, crop.left : crop.left + width])


def _contain(frame: npt.NDArray[np.uint8], width: int, height: int) -> npt.NDArray[np.uint8]:
    box = contain_box(frame.shape[1], frame.shape[0], target_width=width, target_height=height)
    canvas = np.zeros((height, width, _CHANNELS), dtype=np.uint8)
    canvas[box.top : box.top + box.height, box.left : box.left + box.width] = _scaled(frame, box.width, box.height)
    return canvas
