"""Where a generated thing came to lie: words name no pixel, so the nearest placement is looked for.

What is made anew may stand anywhere as a whole (`arrangement`); each thing may then be a little aside of its place.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..data.world.edits import with_thing
from ..data.world.render import pictures
from ..data.world.samples import Request
from ..data.world.scene import SIDE, Scene, Thing
from ..data.world.words import COLOURS, PLACES, SIZES, TONES
from .arrangement import best_shift, shifted

SHIFTS = (-8.0, -4.0, 0.0, 4.0, 8.0)
"""Pixels, of a picture 128 wide, from where a thing should be, in both axes."""
ANGLES = tuple(map(math.radians, (-12.0, 0.0, 12.0)))
_FINE_ANGLES = tuple(angle / 2 for angle in ANGLES)  # from the nearest of those
_FINE, _FINEST = (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0)  # pixels from the nearest of the shifts
_REACH = 1.15 * max(SIZES.values()) + max(SHIFTS) + max(_FINE) + max(_FINEST)


def fit_scene(request: Request, output: Tensor) -> Scene:
    """The right answer with the things that words alone describe where the output has them.

    First the middle frame is looked at, in which every thing is at its place whatever its motion.

    Args:
        request: What was asked.
        output: uint8 [F, height, width, 3].
    """
    scene, middle = request.after, output[output.shape[0] // 2]
    if request.before is None:
        exact = replace(scene, things=tuple(replace(thing, offset=(0.0, 0.0)) for thing in scene.things))
        scene = _with_best_shades(request, shifted(exact, *best_shift(exact, middle)), output)
    for index in free_things(request):
        scene = _refined(_fit_thing(scene, index, middle.float()), index, output.float())
    return scene


def free_things(request: Request) -> list[int]:
    """Which things of the answer are known from words alone, so that their exact place is open."""
    if request.before is None:
        return list(range(len(request.after.things)))
    return [ask.thing for ask in request.asks if ask.attribute == "presence" and ask.thing is not None]


def _fit_thing(scene: Scene, index: int, picture: Tensor) -> Scene:
    thing = scene.things[index]
    height, width = picture.shape[:2]
    box = _box(thing, height, width)

    def error(candidate: Thing) -> float:
        still = replace(with_thing(scene, index, candidate), camera="stays still")  # the middle of any camera's path
        seen = pictures(still, num_frames=1, width=width, height=height)[0]
        return float((seen[box].float() - picture[box]).square().mean())

    fits = [thing]
    for size in SIZES:
        of_size = replace(thing, size=size)
        rough = min(_around(replace(of_size, angle=0.0), SHIFTS), key=error)
        turned = min(_turned(rough, ANGLES), key=error)
        fits += [of_size, min(_around(turned, _FINE), key=error)]
    return with_thing(scene, index, min(fits, key=error))


def _refined(scene: Scene, index: int, output: Tensor) -> Scene:
    """The scene with one thing a little aside and turned where that fits the whole clip better.

    A codec mixes neighbouring frames, so that in the middle one alone a moving thing seems a little off.
    """
    num_frames, height, width = output.shape[:3]

    def error(candidate: Thing) -> float:
        moved = with_thing(scene, index, candidate)
        return float((pictures(moved, num_frames=num_frames, width=width, height=height) - output).square().mean())

    near = min(_around(scene.things[index], _FINE), key=error)
    turned = min(_turned(near, _FINE_ANGLES), key=error)
    return with_thing(scene, index, min(_around(turned, _FINEST), key=error))


def _turned(thing: Thing, angles: Sequence[float]) -> Iterator[Thing]:
    for angle in angles:
        yield replace(thing, angle=thing.angle + angle)


def _around(thing: Thing, steps: Sequence[float]) -> Iterator[Thing]:
    for x, y in itertools.product(steps, steps):
        yield replace(thing, offset=(thing.offset[0] + x, thing.offset[1] + y))


def _box(thing: Thing, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns that the thing can reach from where it is."""

    def span(axis: int, side: int) -> slice:
        middle, scale = PLACES[thing.place][axis] * SIDE + thing.offset[axis], side / SIDE
        return slice(max(0, int((middle - _REACH) * scale)), min(side, math.ceil((middle + _REACH) * scale)))

    return span(1, height), span(0, width)


def _with_best_shades(request: Request, exact: Scene, output: Tensor) -> Scene:
    """A new scene with told shades as the names have them, where that is nearer to the output than the truth's own."""
    shown = {reference.part for reference in request.references}
    things = exact.things
    if "colour" not in shown:
        things = tuple(replace(thing, rgb=COLOURS[thing.colour]) for thing in things)
    background = exact.background
    if "background" not in shown:
        background = replace(background, rgb=TONES[background.tone])
    named = replace(exact, things=things, background=background)
    num_frames, height, width = output.shape[:3]
    rendered = [pictures(scene, num_frames=num_frames, width=width, height=height) for scene in (exact, named)]
    errors = torch.stack([(frames.float() - output).square().mean() for frames in rendered])
    return (exact, named)[int(errors.argmin())]
