"""Turning frames upright by the display matrix that phones store instead of turning the pixels."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from av.buffer import Buffer
    from av.video.frame import VideoFrame

_MATRIX = struct.Struct("=9i")  # 3 x 3, row by row, native byte order in memory


@dataclass(frozen=True)
class Orientation:
    """How a stored frame becomes an upright one: first transpose, then flip."""

    is_transposed: bool = False
    is_flipped_horizontally: bool = False
    is_flipped_vertically: bool = False

    def upright_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) after turning."""
        return (height, width) if self.is_transposed else (width, height)

    def apply(self, frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Turn [height, width, 3] upright."""
        if self.is_transposed:
            frame = frame.swapaxes(0, 1)  # [W, H, 3]
        if self.is_flipped_horizontally:
            frame = frame[:, ::-1]
        if self.is_flipped_vertically:
            frame = frame[::-1]
        return frame


def orientation_of_matrix(a: float, b: float, c: float, d: float) -> Orientation:
    """Orientation for a display matrix, to the nearest quarter turn.

    Args:
        a: Share of the stored x in the shown x.
        b: Share of the stored x in the shown y (down).
        c: Share of the stored y in the shown x.
        d: Share of the stored y in the shown y (down).

    Source: ISO/IEC 14496-12, 8.3.2 (track header): x' = a x + c y, y' = b x + d y.
    """
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(False, a < 0, d < 0)
    return Orientation(True, c < 0, b < 0)


def orientation_of_frame(frame: VideoFrame) -> Orientation:
    """Orientation of a decoded frame; upright when its file says nothing."""
    side_data = frame.side_data.get("DISPLAYMATRIX")
    if side_data is None:
        return Orientation()
    a, b, _, c, d, *_ = _MATRIX.unpack(bytes(cast("Buffer", side_data))[: _MATRIX.size])
    return orientation_of_matrix(a, b, c, d)
