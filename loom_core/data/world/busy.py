"""Busy scenes: many things of any colour and size, the nearest that this world comes to a real clip.

They have no captions. What can be asked of them is what needs no name: keep, reconstruct, change the style.
"""

from __future__ import annotations

import math
import random

from .scene import Background, Scene, Thing
from .words import CAMERAS, MOTIONS, PATTERNS, PLACES, RGB, SHAPES, SIZES, TEXTURES

_FEWEST, _MOST = 6, 16
_SPREAD = 50.0  # pixels from the nine places
_SMALLEST, _LARGEST = 0.35, 3.0  # times the named sizes

STYLE_KINDS = ("keep", "style")
"""Kinds of edit that a busy scene can be asked for."""


def _any_rgb(chance: random.Random) -> RGB:
    brightness, saturation = chance.uniform(10, 235), chance.uniform(0, 90)
    red, green, blue = (int(max(0, min(255, brightness + saturation * chance.uniform(-1, 1)))) for _ in range(3))
    return red, green, blue


def _any_thing(chance: random.Random) -> Thing:
    return Thing(
        shape=chance.choice(SHAPES),
        colour="",
        rgb=_any_rgb(chance),
        texture=chance.choice(("plain", "plain", *TEXTURES)),
        size=chance.choice(list(SIZES)),
        place=chance.choice(list(PLACES)),
        motion=chance.choice(MOTIONS),
        offset=(chance.uniform(-_SPREAD, _SPREAD), chance.uniform(-_SPREAD, _SPREAD)),
        angle=chance.uniform(0, 2 * math.pi),
        scale=math.exp(chance.uniform(math.log(_SMALLEST), math.log(_LARGEST))),
    )


def busy_scene(chance: random.Random) -> Scene:
    """Many things, the largest at the back, before any background; sometimes the camera moves."""
    things = [_any_thing(chance) for _ in range(chance.randint(_FEWEST, _MOST))]
    things.sort(key=lambda thing: -thing.scale)
    background = Background("", _any_rgb(chance), chance.choice(PATTERNS))
    camera = chance.choice(CAMERAS) if chance.randrange(3) == 0 else CAMERAS[0]
    return Scene(tuple(things), background, camera=camera)
