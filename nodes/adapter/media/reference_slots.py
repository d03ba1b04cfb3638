"""What is connected to the slots of Reference Slots, as a row of references: which, how large, at which time index."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ....loom_core.errors import ConfigError
from ....loom_core.geometry import check_size, snap_frames
from ....loom_core.media.resize import Fit
from ....loom_core.models.rope import reference_temporal_index
from ....loom_core.phrases import phrase
from .pictures import check_images, fitted_frames, native_size

SLOT = "image_"
MAX_SLOTS = 100
"""More than the host's growing inputs can have."""
SLOTS = tuple(f"{SLOT}{number}" for number in range(1, MAX_SLOTS + 1))

FITS = ("cover", "contain", "native size")
ONE_A_FRAME, ONE_OF_MANY = "one reference a frame", "one reference of many frames"
MAX_NATIVE_PIXELS = 960 * 960
"""Largest area in training."""


@dataclass(frozen=True)
class ReferencePictures:
    """One reference before it is encoded.

    Args:
        frames: float32 [4k + 1, height, width, 3] in [0, 1].
        notice: What was left out of it, for the user; empty for nothing.
    """

    frames: Tensor
    notice: str = ""


def connected_images(slots: Mapping[str, Any]) -> list[Tensor]:
    """The IMAGEs of the slots in their order.

    Args:
        slots: Slot -> what is connected; a slot that is missing or None is empty.

    Raises:
        ConfigError: None is connected, or a slot before the last is empty, which would change the numbers in the
            prompt.
        MediaError: Something else than pictures is connected.
    """
    filled = [number for number, slot in enumerate(SLOTS, start=1) if slots.get(slot) is not None]
    check_gaps(filled)
    images = [slots[f"{SLOT}{number}"] for number in filled]
    for number, image in enumerate(images, start=1):
        check_images(image, what=f"{SLOT}{number}")
    return images


def check_gaps(filled: Sequence[int]) -> None:
    """Refuse slots that are filled with a gap.

    Args:
        filled: Numbers of the filled slots, rising from 1.

    Raises:
        ConfigError: There is none, or one before the last is empty.
    """
    if not filled:
        raise ConfigError(
            "no reference", expected="a picture in the first slot", fix=phrase("connect one to {slot}", slot=SLOTS[0])
        )
    gaps = sorted(set(range(1, filled[-1])) - set(filled))
    if gaps:
        empty = ", ".join(f"{SLOT}{number}" for number in gaps)
        raise ConfigError(
            phrase("{empty} empty with {slot} connected", empty=empty, slot=f"{SLOT}{filled[-1]}"),
            expected="no empty slot in the middle, since @Image numbers count the slots",
            fix=phrase("connect a picture to {slot}, or move the others up", slot=f"{SLOT}{gaps[0]}"),
        )


def reference_pictures(
    images: Sequence[Tensor], *, size: tuple[int, int], fit: str, is_one_a_frame: bool
) -> list[ReferencePictures]:
    """References of the size that they are encoded at.

    Args:
        images: What is in the slots, in order; each [frames, height, width, channels].
        size: (width, height) in pixels; without effect at native size.
        fit: One of `FITS`.
        is_one_a_frame: Each frame of a slot is a reference of its own; else each slot is one.

    Raises:
        ConfigError: The size is none that the model can have, or the fit is unknown.
        MediaError: A frame has values that are not numbers.
    """
    if fit not in FITS:
        raise ConfigError(f"fit {fit!r}", expected=" or ".join(FITS), fix="choose one of these")
    if fit != FITS[-1]:
        check_size(*size)
    references = []
    for number, image in enumerate(images, start=1):
        num_frames, height, width = image.shape[:3]
        own = native_size(width, height, max_pixels=MAX_NATIVE_PIXELS) if fit == FITS[-1] else size
        how: Fit = "contain" if fit == "contain" else "cover"
        count = num_frames if is_one_a_frame else snap_frames(num_frames)
        groups = [[frame] for frame in range(count)] if is_one_a_frame else [list(range(count))]
        notice = f"{SLOT}{number}: the first {count} of {num_frames} frames (4k + 1)" if count < num_frames else ""
        for group in groups:
            frames = fitted_frames(image, group, size=own, fit=how, what=f"{SLOT}{number}")
            references.append(ReferencePictures(frames, notice))
    return references


def parse_indices(text: str, count: int) -> tuple[int, ...]:
    """Temporal indices of the references.

    Args:
        text: Whole numbers with commas between them; empty for the trained -10, -20, -30 ...
        count: Number of references.

    Raises:
        ConfigError: Something in it is no number below 0, occurs twice, or there are more or fewer than references.
    """
    words = [word.strip() for word in text.replace(";", ",").split(",")] if text.strip() else []
    if not words:
        return tuple(reference_temporal_index(position) for position in range(count))
    fix = "leave temporal_indices empty for -10, -20, -30 ..."
    wrong = next((word for word in words if not re.fullmatch(r"[+-]?\d+", word)), None)
    if wrong is not None:
        raise ConfigError(
            f"temporal index {wrong!r}", expected="whole numbers with commas between them, such as -10, -20", fix=fix
        )
    indices = [int(word) for word in words]
    if len(indices) != count:
        raise ConfigError(f"{len(indices)} temporal indices", expected=f"{count}, one for each reference", fix=fix)
    if max(indices) >= 0:
        raise ConfigError(
            f"temporal index {max(indices)}", expected="numbers below 0, since the clip itself begins there", fix=fix
        )
    twice = next((index for index in indices if indices.count(index) > 1), None)
    if twice is not None:
        raise ConfigError(
            f"temporal index {twice} twice", expected="another one for each reference, to tell them apart", fix=fix
        )
    return tuple(indices)
