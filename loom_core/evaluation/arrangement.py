"""Where the things of a new picture stand: words say where one is beside another, not where in the picture all are.

All of them are shifted as one, on a grid, to where they fit a picture best; the background stays where it is.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from ..data.world.render import pictures, render
from ..data.world.scene import SIDE, Scene
from ..data.world.words import PLACES

GRID = 4
"""Pixels, of a picture 128 wide, from one tried shift to the next."""

HALF = 0.5
"""Of a pixel, above which a thing counts as standing there."""

Span = tuple[float, float]
"""First and last, in pixels of a picture 128 wide."""


def room(scene: Scene) -> tuple[Span, Span]:
    """How far all things can be shifted along x and y so that each is within the nine places, as in training."""
    spans = []
    for axis in (0, 1):
        reach = [position[axis] * SIDE for position in PLACES.values()]
        taken = [PLACES[thing.place][axis] * SIDE for thing in scene.things]
        spans.append((min(reach) - min(taken), max(reach) - max(taken)))
    return spans[0], spans[1]


def shifted(scene: Scene, x: float, y: float) -> Scene:
    """The scene with all its things elsewhere: pixels of a picture 128 wide, to the right and down."""
    things = (replace(thing, offset=(thing.offset[0] + x, thing.offset[1] + y)) for thing in scene.things)
    return replace(scene, things=tuple(things))


def best_shift(scene: Scene, picture: Tensor) -> tuple[float, float]:
    """Shift (x, y) of a scene's things with which they fit a picture best, in pixels of a picture 128 wide.

    The squared error where the things would stand is set against that of the bare background there. Both are sums of
    products of the picture with what is shifted, so that one convolution has them for all shifts.

    Args:
        scene: Its things at their unshifted places.
        picture: uint8 [height, width, 3], the middle frame of a clip, in which no camera has moved yet.
    """
    height, width = picture.shape[:2]
    still = replace(scene, camera="stays still")
    seen = render(still, num_frames=1, width=width, height=height)
    bare = pictures(replace(still, things=()), num_frames=1, width=width, height=height)[0]
    covered = (seen.masks[:, 0].sum(dim=0) > HALF).float()  # [height, width]
    shown, output = seen.frames[0] / 255, picture / 255
    rows, columns = (covered.any(dim=axis).nonzero().flatten() for axis in (1, 0))
    (left, right), (up, down) = room(scene)
    steps = GRID * height // SIDE, GRID * width // SIDE  # sides are multiples of 32, so that these are whole pixels
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    first, last = int(columns[0]), int(columns[-1]) + 1
    within = (
        slice(top + round(up) * height // SIDE, bottom + round(down) * height // SIDE),
        slice(first + round(left) * width // SIDE, last + round(right) * width // SIDE),
    )
    gained = output.square().sum(dim=-1) - (output - bare / 255).square().sum(dim=-1)
    fields = torch.cat([gained[..., None], -2 * output], dim=-1)[within]
    kernel = torch.cat([covered[..., None], covered[..., None] * shown], dim=-1)[top:bottom, first:last]
    planes, weights = fields.permute(2, 0, 1)[None], kernel.permute(2, 0, 1)[None]
    errors = functional.conv2d(planes, weights, stride=steps)[0, 0]  # [shifts down, shifts to the right]
    row, column = (int(index) for index in torch.unravel_index(errors.argmin(), errors.shape))
    return left + GRID * column, up + GRID * row
