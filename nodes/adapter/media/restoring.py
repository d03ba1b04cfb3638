"""Giving an edit back as its source came: size, rate, length, and what the working size had cut away or added.

`contain` had added bars; they are cut off. `cover` had cut off the edges, which the model therefore never saw. What
stands there in the result is a choice: the source's own pixels (right for a small change, a coloured frame around a
picture turned grey), or the edit continued as in a mirror (right for narrow edges, a kaleidoscope in wide ones).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ....loom_core.errors import ConfigError
from ....loom_core.media.decode import FrameCallback
from ....loom_core.vae.latents import RGB
from ...sockets import SourceClip, SourceOrigin
from ..memory import require_memory
from .audio import part_of
from .pictures import check_images, rgb_frame
from .region import Region, region_of, whole, without_edges

ORIGINAL, EDITED = "original", "edited"
BORDERS = ("auto", "original", "mirror", "cut")
_NARROW = 0.08
"""Share of a side: edges up to it are continued from the edit when the choice is left to us."""
_FEATHER = 0.01
"""Share of a side over which an edit fades into the source's own pixels."""
_LARGEST_DENOMINATOR = 1001
"""Of the rates of television: 24000/1001, 30000/1001, 60000/1001."""
_TOLERANCE = 1.5
"""Pixels by which an enlarged edit may miss the shape of the working size."""


@dataclass(frozen=True)
class Restored:
    """An edit as its source came.

    Args:
        images: float32 [frames, height, width, 3] in [0, 1].
        fps: Frames a second.
        audio: The host's AUDIO of the same length, or None.
        border: What stands where the model saw nothing: "original", "mirror", "cut", or empty if there is no such edge.
    """

    images: Tensor
    fps: Fraction
    audio: dict[str, Any] | None
    border: str


def restore(
    images: Tensor, source: SourceClip, *, size: str, rate: str, border: str, on_frame: FrameCallback | None = None
) -> Restored:
    """Give an edit back as its source came.

    Args:
        images: IMAGE of the edit, one frame for each of the source's; may be enlarged as a whole.
        source: What was edited.
        size: "original" or "edited".
        rate: "original" or "edited"; frames are repeated or left out by their time.
        border: One of `BORDERS`, for edges that "cover" had cut off; without effect on an edited size.
        on_frame: Told after each frame; may raise to stop.

    Raises:
        ConfigError: The frames are of another number or shape than the source's.
        MediaError: The frames are none, or the source's file is gone.
        ResourceError: The result would not fit into memory.
    """
    check_images(images, what="the edit")
    _check_edit(images, source)
    origin = source.origin
    region = region_of(images, source) if size == ORIGINAL else whole(images)
    border = _resolved(border, region)
    if border == "cut":
        region = without_edges(region)
    edited, kept, fps = _numbers(source, rate)
    _check_room(len(edited), region)
    made = torch.empty(len(edited), region.height, region.width, RGB)
    originals = _picked(origin, kept) if border == ORIGINAL else None
    piece, last = None, -1
    for position, number in enumerate(edited):
        if piece is None or number != last:
            piece, last = _piece(rgb_frame(images[number], what="the edit"), region), number
        made[position] = _framed(piece, region, border, next(originals) if originals is not None else None)
        if on_frame is not None:
            on_frame(position + 1, len(edited))
    return Restored(made, fps, part_of(origin.audio, 0, len(edited) / fps), border)


def exact_rate(fps: float) -> Fraction:
    """A rate as the fraction that is meant by it.

    Args:
        fps: Frames a second, above 0.
    """
    return Fraction(fps).limit_denominator(_LARGEST_DENOMINATOR)


def _check_edit(images: Tensor, source: SourceClip) -> None:
    expected, height, width = source.frames.shape[:3]
    if len(images) != expected:
        several = len(images) % expected == 0
        raise ConfigError(
            f"{len(images)} edited frames for a source of {expected}",
            expected="one for each",
            fix="decode one sample of the batch at a time (LatentFromBatch)"
            if several
            else "connect the source that was edited, and all frames of the edit",
        )
    scale = images.shape[2] / width
    if abs(images.shape[1] - height * scale) > _TOLERANCE:
        raise ConfigError(
            f"an edit of {images.shape[2]} x {images.shape[1]} for a source that was edited at {width} x {height}",
            expected="that size, or the same shape enlarged",
            fix="connect the frames as VAE Decode gives them",
        )


def _resolved(border: str, region: Region) -> str:
    if not any(region.pads):
        return ""
    if border == "auto":
        return "mirror" if region.widest_border <= _NARROW else ORIGINAL
    return border


def _numbers(source: SourceClip, rate: str) -> tuple[list[int], list[int], Fraction]:
    """For each frame of the result: which edited frame, which original one; and the rate."""
    origin, count = source.origin, len(source.frames)
    ratio = origin.fps / source.fps
    if rate == ORIGINAL:
        edited = [min(round(number / ratio), count - 1) for number in range(origin.num_frames)]
        return edited, list(range(origin.num_frames)), exact_rate(origin.fps)
    kept = [min(round(number * ratio), origin.num_frames - 1) for number in range(count)]
    return list(range(count)), kept, exact_rate(source.fps)


def _check_room(num_frames: int, region: Region) -> None:
    """Refuse a result that would not fit."""
    one = region.width * region.height * RGB * torch.float32.itemsize
    require_memory(
        f"{num_frames} frames of {region.width} x {region.height}, which take",
        num_frames * one,
        expected=lambda spare: f"at most {int(spare // one)} frames of this size",
        fix="choose size edited, or edit a shorter part",
    )


def _picked(origin: SourceOrigin, numbers: list[int]) -> Iterator[Tensor]:
    """Original frames by number, which rise; gone through once."""
    frames = iter(origin.frames)
    number, frame = -1, None
    for wanted in numbers:
        while number < wanted:
            number, frame = number + 1, next(frames)
        assert frame is not None
        yield frame


def _piece(frame: Tensor, region: Region) -> Tensor:
    """The part of an edited frame [h, w, 3] that goes into the original, at its size there: [3, height, width]."""
    left, top, width, height = region.source
    piece = frame[top : top + height, left : left + width].movedim(-1, 0)
    wanted = region.target[3], region.target[2]
    if tuple(piece.shape[1:]) == wanted:
        return piece
    return functional.interpolate(piece[None], size=wanted, mode="bicubic", antialias=True)[0].clamp(0, 1)


def _framed(piece: Tensor, region: Region, border: str, original: Tensor | None) -> Tensor:
    """A piece [3, h, w] with what stands around it, [height, width, 3]."""
    if original is not None:
        left, top, width, height = region.target
        weight = _weight(region)
        framed = original.clone()
        inside = framed[top : top + height, left : left + width]
        inside.lerp_(piece.movedim(0, -1), weight)
        return framed
    if border == "mirror":
        left, right, top, bottom = region.pads
        fits = max(left, right) < piece.shape[2] and max(top, bottom) < piece.shape[1]
        pads = (left, right, top, bottom)
        piece = functional.pad(piece[None], pads, mode="reflect" if fits else "replicate")[0]
    return piece.movedim(0, -1)


def _weight(region: Region) -> Tensor:
    """Of the edit against the original within the target, [height, width, 1]; fades where there is a border."""
    left, right, top, bottom = region.pads
    _, _, width, height = region.target
    across = _ramp(width, left > 0, right > 0, round(_FEATHER * region.width))
    down = _ramp(height, top > 0, bottom > 0, round(_FEATHER * region.height))
    return torch.minimum(down[:, None], across[None])[..., None]


def _ramp(length: int, begins: bool, ends: bool, feather: int) -> Tensor:
    steps = torch.arange(length, dtype=torch.float32) + 1
    rising = (steps / (feather + 1)).clamp(max=1) if begins else torch.ones(length)
    falling = (steps.flip(0) / (feather + 1)).clamp(max=1) if ends else torch.ones(length)
    return torch.minimum(rising, falling)
