"""Where to look, and the box around it that a codec can work on by itself.

Legend: F frames.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..data.world.edits import Ask
from ..data.world.render import Rendering
from ..geometry import SPATIAL_STRIDE

DILATION = 2  # pixels: a codec spreads an edge about so far
_CONTEXT = SPATIAL_STRIDE  # pixels beyond a block that have a say in how a codec decodes it


def dilate(mask: Tensor, pixels: int = DILATION) -> Tensor:
    """A mask [..., height, width] grown by some pixels on each side; bool."""
    return highest_within(mask.bool().byte(), pixels).bool()


def highest_within(values: Tensor, pixels: int) -> Tensor:
    """The highest of the values [..., height, width] that lie at most so many rows and columns away.

    As `max_pool2d` has it, but one side after the other and a whole picture at once, which takes a twelfth of its time.
    """
    for dim in (-2, -1):
        side, found = values.shape[dim], values.clone()
        for step in range(1, min(pixels, side - 1) + 1):
            earlier, later = found.narrow(dim, 0, side - step), found.narrow(dim, step, side - step)
            torch.maximum(earlier, values.narrow(dim, step, side - step), out=earlier)
            torch.maximum(later, values.narrow(dim, 0, side - step), out=later)
        values = found
    return values


def erode(mask: Tensor, pixels: int) -> Tensor:
    """A mask [..., height, width] shrunk by some pixels on each side, but not at the picture's border; bool."""
    return ~dilate(~mask.bool(), pixels)


def things_mask(rendering: Rendering) -> Tensor:
    """Where any thing is seen, bool [F, height, width]."""
    seen = torch.zeros(rendering.frames.shape[:3], dtype=torch.bool)
    for mask in rendering.masks:
        seen |= mask > 0
    return seen


def region_of(ask: Ask, renderings: Sequence[Rendering]) -> Tensor:
    """Where the alternatives of an ask are told apart, bool [F, height, width].

    Args:
        ask: What was asked.
        renderings: Of all alternatives.
    """
    if ask.attribute == "background":
        return ~dilate(things_mask(renderings[0]))
    if ask.attribute in ("style", "camera"):
        return torch.ones(renderings[0].frames.shape[:3], dtype=torch.bool)
    assert ask.thing is not None
    count = max(len(rendering.masks) for rendering in renderings)
    covered = [rendering.masks[ask.thing] > 0 for rendering in renderings if len(rendering.masks) == count]
    return dilate(torch.stack(covered).any(0))


def codec_box(region: Tensor) -> tuple[slice, slice]:
    """Rows and columns around a region [F, height, width], whole blocks and a block more on each side."""
    height, width = region.shape[1:]
    rows = region.any(dim=0).any(dim=1).nonzero().flatten()
    columns = region.any(dim=0).any(dim=0).nonzero().flatten()
    return _blocks(rows, height), _blocks(columns, width)


def _blocks(where: Tensor, side: int) -> slice:
    first = int(where[0]) // SPATIAL_STRIDE * SPATIAL_STRIDE - _CONTEXT
    last = (int(where[-1]) // SPATIAL_STRIDE + 1) * SPATIAL_STRIDE + _CONTEXT
    return slice(max(0, first), min(side, last))
