"""Two clips side by side, to see what an edit changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest

import torch
from torch import Tensor

from ..errors import MediaError
from .resize import check_frames_tensor, resize_and_crop

SEPARATOR_PX = 4
_GREY = 128


def side_by_side_size(
    left: tuple[int, int], right: tuple[int, int], *, separator: int = SEPARATOR_PX
) -> tuple[int, int]:
    """(width, height) in pixels of `side_by_side` for clips of these (width, height)."""
    return _width_at_height(left, right[1]) + separator + right[0], right[1]


def side_by_side(left: Iterable[Tensor], right: Iterable[Tensor], *, separator: int = SEPARATOR_PX) -> Iterator[Tensor]:
    """Join two clips frame by frame, left | grey line | right, as their frames arrive.

    The left clip is brought to the right one's height and keeps its aspect ratio. The shorter clip holds its last
    frame until the longer one ends.

    Args:
        left: Chunks of uint8 [f, h, w, 3]; the chunks of both sides need not match.
        right: Chunks of uint8 [f, H, W, 3].
        separator: Width of the line in pixels.

    Yields:
        uint8 [1, H, ..., 3], of the size that `side_by_side_size` gives.

    Raises:
        MediaError: A side has no frame at all.
    """
    shown: list[Tensor | None] = [None, None]
    for pair in zip_longest(_frames(left), _frames(right)):
        shown = [new if new is not None else old for new, old in zip(pair, shown, strict=True)]
        first, second = shown
        if first is None or second is None:
            break
        height = second.shape[1]
        width = _width_at_height((first.shape[2], first.shape[1]), height)
        scaled = resize_and_crop(first, width=width, height=height, fit="stretch")
        line = torch.full((1, height, separator, 3), _GREY, dtype=torch.uint8)
        yield torch.cat([scaled.cpu(), line, second.cpu()], dim=2)  # [1, H, W + separator + W, 3]
    if shown[0] is None or shown[1] is None:
        raise MediaError("a clip without frames", expected="at least one frame on either side", fix="check both clips")


def _frames(chunks: Iterable[Tensor]) -> Iterator[Tensor]:
    for chunk in chunks:
        check_frames_tensor(chunk)
        yield from chunk.split(1)


def _width_at_height(size: tuple[int, int], height: int) -> int:
    return max(1, round(size[0] * height / size[1]))
