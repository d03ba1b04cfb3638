"""Pictures that are drawn here, as the host's IMAGE."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image

_PAPER = (255, 255, 255)


def as_images(picture: Image) -> Tensor:
    """A picture as the host has it: float32 [1, height, width, 3] in [0, 1]."""
    return torch.from_numpy(np.array(picture.convert("RGB"))).float()[None] / 255


def stacked(upper: Image, lower: Image | None) -> Image:
    """Two pictures, one below the other, as wide as the wider one."""
    from PIL import Image

    if lower is None:
        return upper
    sheet = Image.new("RGB", (max(upper.width, lower.width), upper.height + lower.height), _PAPER)
    sheet.paste(upper, (0, 0))
    sheet.paste(lower, (0, upper.height))
    return sheet
