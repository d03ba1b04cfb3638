"""Where a source counts: a MASK as one number for each token, and a curve over the noise level written as text."""

from __future__ import annotations

import math
from typing import Any

import torch
from einops import reduce
from torch import Tensor
from torch.nn import functional

from ....loom_core.errors import ConfigError, MediaError
from ....loom_core.geometry import SIZE_MULTIPLE, TEMPORAL_STRIDE, contain_box, cover_crop
from ....loom_core.request import MAX_SOURCE_STRENGTH
from .source_reading import SourceReading, SourceRequest

_MASK_DIMENSIONS = 3


def token_mask(mask: Any, reading: SourceReading, request: SourceRequest) -> Tensor:
    """How much of the source each token gets.

    Args:
        mask: The host's MASK, [frames, height, width] or [height, width] in [0, 1]; 1 keeps the source. Of one frame,
            of as many as the source has at the working rate, or of those that it has at its own.
        reading: The source.
        request: How it was read; the mask is brought to its size the same way.

    Returns:
        float32 [F, height / 32, width / 32] in [0, 1].

    Raises:
        MediaError: It is no mask, of another length, not finite, or black everywhere.
    """
    mask = _checked(mask)
    numbers = _numbers(len(mask), reading, request)
    by_number = {number: _tokens(mask[number], request) for number in dict.fromkeys(numbers)}
    grid = torch.stack([by_number[number] for number in numbers])  # [4k + 1, height / 32, width / 32]
    first, rest = grid[:1], reduce(grid[1:], "(f t) h w -> f h w", "mean", t=TEMPORAL_STRIDE)
    tokens = torch.cat([first, rest])
    if not bool((tokens > 0).any()):
        raise MediaError(
            "a mask that is black everywhere",
            expected="some white, where the source is added",
            fix="invert it, disconnect it, or set strength to 0",
        )
    return tokens


def _checked(mask: Any) -> Tensor:
    """The mask as [frames, height, width]."""
    if isinstance(mask, Tensor) and mask.ndim == _MASK_DIMENSIONS - 1:
        mask = mask[None]
    if isinstance(mask, Tensor) and mask.ndim == _MASK_DIMENSIONS and 0 not in mask.shape:
        return mask
    found = f"a mask of shape {list(mask.shape)}" if isinstance(mask, Tensor) else f"a {type(mask).__name__} as mask"
    raise MediaError(found, expected="a MASK [frames, height, width]", fix="check what is connected")


def _numbers(length: int, reading: SourceReading, request: SourceRequest) -> list[int]:
    """Which frame of a mask belongs to each working frame."""
    count, first, own = len(reading.frames), reading.first_frame, reading.origin.num_frames
    if length == 1:
        return [0] * count
    if length == count:
        return list(range(count))
    if length >= first + own:
        ratio = reading.origin.fps / request.fps
        return [min(first + round(number * ratio), length - 1) for number in range(count)]
    raise MediaError(
        f"a mask of {length} frames",
        expected=f"1, {count} (the source at {request.fps:g} a second) or at least {first + own} (at its own rate)",
        fix="make one mask for each frame of the source, or one for all",
    )


def _tokens(frame: Tensor, request: SourceRequest) -> Tensor:
    """A mask [h, w], brought to size as the source was, as means over tokens [height / 32, width / 32]."""
    width, height = request.width, request.height
    frame = frame.to("cpu", torch.float32)
    if not bool(torch.isfinite(frame).all()):
        raise MediaError("a mask that is not finite", expected="values in [0, 1]", fix="check the node that made it")
    frame = frame.clamp(0, 1)
    if request.fit == "cover":
        crop = cover_crop(frame.shape[1], frame.shape[0], target_width=width, target_height=height)
        scaled = _scaled(frame, crop.scaled_width, crop.scaled_height)
        frame = scaled[crop.top : crop.top + height, crop.left : crop.left + width]
    else:
        box = contain_box(frame.shape[1], frame.shape[0], target_width=width, target_height=height)
        canvas = torch.ones(height, width)  # the bars are part of the source, too
        canvas[box.top : box.top + box.height, box.left : box.left + box.width] = _scaled(frame, box.width, box.height)
        frame = canvas
    return functional.avg_pool2d(frame[None], SIZE_MULTIPLE)[0]


def _scaled(frame: Tensor, width: int, height: int) -> Tensor:
    return functional.interpolate(frame[None, None], size=(height, width), mode="area")[0, 0]


def check_strength(strength: float) -> None:
    """Refuse a strength that makes no sense; the host does not look at one that comes by a link.

    Raises:
        ConfigError: It is out of range.
    """
    if not 0 <= strength <= MAX_SOURCE_STRENGTH:
        raise ConfigError(f"strength {strength:g}", expected=f"0 to {MAX_SOURCE_STRENGTH:g}", fix="1 is trained")


def parse_curve(text: str) -> tuple[tuple[float, float], ...]:
    """Points of a curve over the noise level.

    Args:
        text: "sigma:factor" with commas between, such as "1:1, 0.5:0.8, 0:0"; empty for none.

    Returns:
        (sigma, factor), falling in sigma.

    Raises:
        ConfigError: Something in it is no point, sigma leaves [0, 1] or occurs twice, or a factor is out of range.
    """
    points: dict[float, float] = {}
    for written in filter(None, (word.strip() for word in text.replace(";", ",").replace("\n", ",").split(","))):
        sigma, factor = _point(written)
        if sigma in points:
            raise ConfigError(
                f"sigma {sigma:g} twice in strength_curve", expected="each once", fix="leave one of them out"
            )
        points[sigma] = factor
    return tuple(sorted(points.items(), reverse=True))


def _point(written: str) -> tuple[float, float]:
    try:
        sigma, factor = (float(number) for number in written.split(":"))
    except ValueError:
        sigma = factor = math.nan
    if 0 <= sigma <= 1 and 0 <= factor <= MAX_SOURCE_STRENGTH:
        return sigma, factor
    raise ConfigError(
        f"{written!r} in strength_curve",
        expected=f"sigma:factor, sigma from 1 (noise) to 0 (clean), factor from 0 to {MAX_SOURCE_STRENGTH:g}",
        fix='write points with commas between them, such as "1:1, 0.5:0.8, 0:0"',
    )
