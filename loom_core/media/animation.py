"""Writing frames as an animated gif."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL.Image import Image

_TICKS = 100  # a gif counts in hundredths of a second


def save_gif(
    path: Path, frames: Iterator[npt.NDArray[np.uint8]], *, rate: Fraction, options: Mapping[str, Any]
) -> None:
    """Write an endless gif with a palette of its own for every frame.

    Args:
        path: Where to write, whatever its ending.
        frames: uint8 [height, width, 3], at least one.
        rate: Frames a second; delays are rounded so that they add up to it.
        options: Further arguments for Pillow's `Image.save`.
    """
    pictures = _pictures(frames, rate)
    first = next(pictures)
    first.save(path, format="GIF", save_all=True, append_images=pictures, loop=0, **options)


def frame_delays(rate: Fraction) -> Iterator[int]:
    """Milliseconds that each frame stays, whole hundredths of a second that keep step with the rate."""
    shown = number = 0
    while True:
        number += 1
        due = round(number * _TICKS / rate)
        yield (due - shown) * 1000 // _TICKS
        shown = due


def _pictures(frames: Iterator[npt.NDArray[np.uint8]], rate: Fraction) -> Iterator[Image]:
    from PIL import Image

    for frame, delay in zip(frames, frame_delays(rate), strict=False):
        picture = Image.fromarray(frame).quantize(256, Image.Quantize.MEDIANCUT)
        picture.info["duration"] = delay
        yield picture
