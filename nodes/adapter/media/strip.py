"""Rows of small pictures with labels, for looking at what goes into the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .pictures import as_floats, as_levels

_HEIGHT = 160
_LEAST_WIDTH, _MOST_WIDTH = 130, 320
_GAP, _LINE = 8, 18
_PER_ROW = 8
_FONT_SIZE = 14
_BACKGROUND, _TEXT = (32, 32, 32), (235, 235, 235)


@dataclass(frozen=True)
class PictureStrip:
    """Small pictures side by side.

    Args:
        image: IMAGE, float32 [1, height, width, 3].
        boxes: Where each picture is in it, without its text: (left, top, width, height) in pixels.
    """

    image: Tensor
    boxes: tuple[tuple[int, int, int, int], ...]


def picture_strip(pictures: Sequence[Tensor], labels: Sequence[Sequence[str]]) -> PictureStrip:
    """Pictures side by side, each with lines of text below.

    Args:
        pictures: Each float32 [height, width, 3] in [0, 1]; at least one.
        labels: The lines of each.
    """
    from PIL import Image, ImageDraw

    small = [_thumbnail(picture) for picture in pictures]
    rows = [range(start, min(start + _PER_ROW, len(small))) for start in range(0, len(small), _PER_ROW)]
    widths = [max(_LEAST_WIDTH, thumbnail.shape[1]) + _GAP for thumbnail in small]
    row_height = _HEIGHT + max(len(texts) for texts in labels) * _LINE + 3 * _GAP
    canvas_width = max(sum(widths[number] for number in row) for row in rows) + _GAP
    canvas = Image.new("RGB", (canvas_width, row_height * len(rows)), _BACKGROUND)
    draw, font = ImageDraw.Draw(canvas), _font()
    boxes = []
    for top, row in zip(range(0, canvas.height, row_height), rows, strict=True):
        left = _GAP
        for number in row:
            height, width = small[number].shape[:2]
            below = (_HEIGHT - height) // 2
            canvas.paste(Image.fromarray(small[number]), (left, top + _GAP + below))
            boxes.append((left, top + _GAP + below, width, height))
            for line, text in enumerate(labels[number]):
                draw.text((left, top + _HEIGHT + 2 * _GAP + line * _LINE), text, fill=_TEXT, font=font)
            left += widths[number]
    return PictureStrip(as_floats(torch.from_numpy(np.array(canvas)))[None], tuple(boxes))


def _thumbnail(picture: Tensor) -> np.ndarray:
    from PIL import Image

    height, width = picture.shape[:2]
    scale = min(_HEIGHT / height, _MOST_WIDTH / width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.array(Image.fromarray(as_levels(picture)).resize(size, Image.Resampling.BILINEAR))


def _font():  # noqa: ANN202 - Pillow's, which is not imported at the top
    from PIL import ImageFont

    try:
        return ImageFont.load_default(_FONT_SIZE)
    except TypeError:  # Pillow below 10.1 has one size only
        return ImageFont.load_default()
