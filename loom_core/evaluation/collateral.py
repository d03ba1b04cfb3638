"""Did anything else change? The whole right answer is painted, and what the output has beyond it is looked for.

Two looks, since each is blind where the other sees. Block by block, which finds what is only somewhere: a thing more,
a thing elsewhere. And part by part (the background, each thing) the mean colour, which finds what is everywhere but
faint. What was asked about is left to its own verdict. Blur and noise of a decoded result are no change: a pixel is
compared with all that the right answer shows within `REACH` pixels, so that an edge may be soft or a little off.

Legend: F frames. All levels are those of 8 bits, 0 to 255.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from ..data.world.edits import Ask, with_thing
from ..data.world.render import Rendering, render
from ..data.world.samples import Request
from ..data.world.scene import Scene, Thing
from ..data.world.words import SIZES
from ..geometry import SPATIAL_STRIDE
from .fitting import free_things
from .regions import dilate, erode, highest_within

REACH = 2
"""Pixels that an edge may lie off: half of a step of `fitting.SHIFTS`, and what a blur spreads."""

SEAM = 4
"""Pixels next to what was asked about that belong to it: a codec spreads a change about so far."""

BLOCK = SPATIAL_STRIDE
"""Side of a block in pixels: a latent's, so that one wrong latent is one wrong block."""

BLOCK_ERROR = 26.0
"""Most root mean squared excess of a block. The right answer with latent noise that leaves 24 dB reaches 23; a thing
that was recoloured, or stands where none was, 34 and more, but in a dark picture."""

PATCH = 24
"""Side in pixels of a square whose mean colour is looked at, the size of a small thing: noise cancels out over it."""

PATCH_ERROR = 17.0
"""Most root mean squared excess of a square's mean colour; the noise reaches 12."""

DARK_PATCH_ERROR = 12.5
"""The same in the style "dark", which leaves less than half of the contrasts: a small thin thing more reaches 13."""

PART_ERROR = 12.0
"""Most root mean squared difference of a part's mean colour. The noise reaches 9; two tones are 38 apart at
least, 18 in a dark picture."""

SHADE_ERROR = 10.0
"""What is added to that for a part that is known from words alone, which leave its shade open."""

STEP = 8.0
"""Pixels, of a picture 128 wide, by which a thing counts as moved: half a latent."""

_ASIDE = ((STEP, 0.0), (-STEP, 0.0), (0.0, STEP), (0.0, -STEP))
_LEAST_STEP = 10.0  # root mean squared; a thing that hardly shows cannot be seen to have moved
_LEAST_PART = 150
"""Pixels of one frame below which the mean colour of a part is that of its edges."""


@dataclass(frozen=True)
class Spill:
    """Something that nobody asked for.

    Args:
        where: The block, "frame 3, rows 16 to 31, columns 0 to 15", or the part: "the background", "the ring", "the
            size of the ring".
        error: By how much, root mean squared, in levels; of a size in pixels of its radius.
        limit: Most that is allowed.
    """

    where: str
    error: float
    limit: float


def find_spill(request: Request, scene: Scene, output: Tensor, *, expected: Tensor) -> Spill | None:
    """The worst change that was not asked for, as a part of its limit; None if there is none.

    Args:
        request: What was asked.
        scene: The right answer as the output has it, see `fitting.fit_scene`.
        output: uint8 [F, height, width, 3].
        expected: The right answer after the codec, [F, height, width, 3].
    """
    worst = max(spills_of(request, scene, output, expected=expected), key=lambda spill: spill.error / spill.limit)
    return worst if worst.error > worst.limit else None


def spills_of(request: Request, scene: Scene, output: Tensor, *, expected: Tensor) -> Iterator[Spill]:
    """All that is looked at, whether it is beyond its limit or not; arguments as for `find_spill`."""
    num_frames, height, width = output.shape[:3]
    masks = render(scene, num_frames=num_frames, width=width, height=height).masks
    asked = _asked_region(request, masks, output)
    background = ~dilate((masks > 0).any(dim=0), SEAM) & ~asked
    difference = output.float() - expected
    shown = output.float()
    if _asks(request, "background"):  # its verdict decides on its tone; here a thing that stands out counts
        shown = shown - _offset(difference, background) * background[..., None]
    excess = _excess(shown, expected) * ~asked[..., None]
    yield from _worst_squares(excess, DARK_PATCH_ERROR if scene.style == "dark" else PATCH_ERROR)
    yield from _moved_things(request, scene, output)
    yield from _wrong_sizes(request, scene)
    limit = PART_ERROR + (SHADE_ERROR if request.before is None else 0.0)
    if not _asks(request, "background"):
        yield from _of_part("the background", difference, background, limit)
    recoloured = {ask.thing for ask in request.asks if ask.attribute in ("colour", "presence")}
    for index, thing in enumerate(scene.things):
        if index not in recoloured:
            yield from _of_part(f"the {thing.shape}", difference, erode(masks[index] >= 1, REACH), limit)


def _offset(difference: Tensor, part: Tensor) -> Tensor:
    """Median difference [3] within a part [F, height, width]."""
    return difference[part].median(dim=0).values if bool(part.any()) else torch.zeros(3)


def _asks(request: Request, attribute: str) -> bool:
    return any(ask.attribute == attribute for ask in request.asks)


def _asked_region(request: Request, masks: Tensor, output: Tensor) -> Tensor:
    """Where things are, or were, that something was asked of, and the seam around them: bool [F, height, width]."""
    num_frames, height, width = output.shape[:3]
    region = torch.zeros(output.shape[:3], dtype=torch.bool)
    before = None
    if request.before is not None:
        before = render(request.before, num_frames=num_frames, width=width, height=height).masks
    for ask in request.asks:
        if ask.thing is None:
            continue
        for seen, has in ((masks, ask.attribute != "absence"), (before, before is not None)):
            if has and seen is not None and ask.thing < len(seen):
                region |= _path(seen[ask.thing] > 0, ask)
    return dilate(region, SEAM)


def _path(covered: Tensor, ask: Ask) -> Tensor:
    """Where a thing is in each frame; for a motion, which has its own verdict, wherever it comes by."""
    return covered.any(dim=0, keepdim=True).expand_as(covered) if ask.attribute == "motion" else covered


def _excess(shown: Tensor, expected: Tensor) -> Tensor:
    """How far each value lies above or below what is expected within `REACH` pixels, [F, height, width, 3]."""
    picture = expected.permute(0, 3, 1, 2)
    highest = highest_within(picture, REACH).permute(0, 2, 3, 1)
    lowest = -highest_within(-picture, REACH).permute(0, 2, 3, 1)
    return (shown - highest).clamp(min=0) - (lowest - shown).clamp(min=0)


def _worst_squares(excess: Tensor, patch_limit: float) -> Iterator[Spill]:
    """The block that is furthest off by single pixels, and the larger square whose mean colour is."""
    blocks = functional.avg_pool2d(excess.square().mean(dim=-1), BLOCK)  # [F, rows, columns]
    yield _worst(blocks, side=BLOCK, stride=BLOCK, limit=BLOCK_ERROR)
    means = functional.avg_pool2d(excess.permute(0, 3, 1, 2), PATCH, stride=PATCH // 3)
    yield _worst(means.square().mean(dim=1), side=PATCH, stride=PATCH // 3, limit=patch_limit)


def _worst(squares: Tensor, *, side: int, stride: int, limit: float) -> Spill:
    """The largest of mean squared errors [F, rows, columns]."""
    frame, row, column = (int(index) for index in torch.unravel_index(squares.argmax(), squares.shape))
    rows, columns = (f"{at * stride} to {at * stride + side - 1}" for at in (row, column))
    return Spill(f"frame {frame}, rows {rows}, columns {columns}", float(squares.max()) ** 0.5, limit)


def _of_part(name: str, difference: Tensor, part: Tensor, limit: float) -> Iterator[Spill]:
    if int(part.sum()) >= _LEAST_PART * len(part):
        yield Spill(name, float(difference[part].mean(dim=0).square().mean()) ** 0.5, limit)


def _wrong_sizes(request: Request, scene: Scene) -> Iterator[Spill]:
    """Things that words describe, "large", and that were found to be of the other size."""
    radii = SIZES.values()
    for index in free_things(request):
        told, found = request.after.things[index], scene.things[index]
        if told.size != found.size:
            error = abs(SIZES[told.size] - SIZES[found.size])
            yield Spill(f"the size of the {told.shape}", error, (max(radii) - min(radii)) / 2)


def _moved_things(request: Request, scene: Scene, output: Tensor) -> Iterator[Spill]:
    """How far each given thing is from its place, beside how far it is from where it would be a step aside.

    The limit is the distance of the output to the nearest of those: a thing that is nearer to one of them has moved.
    """
    num_frames, height, width = output.shape[:3]
    free = {*free_things(request), *(ask.thing for ask in request.asks if ask.attribute != "absence")}

    def painted(thing: Thing, index: int) -> Rendering:
        return render(with_thing(scene, index, thing), num_frames=num_frames, width=width, height=height)

    for index, thing in enumerate(scene.things):
        if index in free:
            continue
        here = painted(thing, index)
        errors = []
        for x, y in _ASIDE:
            there = painted(replace(thing, offset=(thing.offset[0] + x, thing.offset[1] + y)), index)
            region = dilate((here.masks[index] > 0) | (there.masks[index] > 0))
            if _distance(here.frames, there.frames, region) >= _LEAST_STEP:
                errors.append([_distance(output, frames, region) for frames in (here.frames, there.frames)])
        if errors:
            error, limit = max(errors, key=lambda pair: pair[0] / pair[1])
            yield Spill(f"the place of the {thing.shape}", error, limit)


def _distance(frames: Tensor, others: Tensor, region: Tensor) -> float:
    """Root mean squared, within a region [F, height, width]; 0 for an empty one, above 0 else."""
    if not bool(region.any()):
        return 0.0
    return float((frames[region].float() - others[region].float()).square().mean()) ** 0.5 + 1e-6
