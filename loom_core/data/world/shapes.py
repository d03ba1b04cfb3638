"""Signed distances of the shapes, and the textures on them; pure functions of coordinates.

Coordinates are in radii of the thing: x to the right, y down, the thing's middle at 0. A distance is negative inside.

Source: Inigo Quilez, "2D distance functions" (star, triangle); the others are elementary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


def _radius(x: Array, y: Array) -> Array:
    return np.sqrt(x * x + y * y)  # a third of what `np.hypot` takes; nothing is so large that it could overflow


def _circle(x: Array, y: Array) -> Array:
    return _radius(x, y) - 0.92


def _square(x: Array, y: Array) -> Array:
    return np.maximum(np.abs(x), np.abs(y)) - 0.8


def _triangle(x: Array, y: Array) -> Array:
    # three half planes of an equilateral triangle that points up, its middle a little below the coordinates'
    y = y - 0.12
    return np.maximum(y, np.abs(x) * (math.sqrt(3) / 2) - y / 2) - 0.55


def _star(x: Array, y: Array) -> Array:
    """Five points: the angle is folded into one tenth of the turn, where the edge is one straight line."""
    tenth = math.pi / 5
    folded = np.abs((np.arctan2(x, -y) + tenth) % (2 * tenth) - tenth)  # 0 at a point, pi / 5 between two
    radius = _radius(x, y)
    along_tip, aside = radius * np.cos(folded), radius * np.sin(folded)
    outer, inner = 1.05, 0.5
    edge = (inner * math.cos(tenth) - outer, inner * math.sin(tenth))  # from the tip to the valley
    length = math.hypot(*edge)
    return ((along_tip - outer) * edge[1] - aside * edge[0]) / length


def _ring(x: Array, y: Array) -> Array:
    return np.abs(_radius(x, y) - 0.68) - 0.26


def _cross(x: Array, y: Array) -> Array:
    x, y = np.abs(x), np.abs(y)
    return np.minimum(np.maximum(x - 0.95, y - 0.31), np.maximum(y - 0.95, x - 0.31))


def _moon(x: Array, y: Array) -> Array:
    return np.maximum(_radius(x, y) - 0.95, 0.75 - _radius(x - 0.5, y))


DISTANCES: Mapping[str, Callable[[Array, Array], Array]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "ring": _ring,
    "cross": _cross,
    "moon": _moon,
}
"""Shape -> signed distance of (x, y), in radii."""


def _striped(x: Array, y: Array) -> Array:
    del x
    return np.sin(2 * math.pi * y / 16)


def _dotted(x: Array, y: Array) -> Array:
    return 0.35 - np.cos(2 * math.pi * x / 18) * np.cos(2 * math.pi * y / 18)


def _checkered(x: Array, y: Array) -> Array:
    return np.sin(math.pi * x / 11) * np.sin(math.pi * y / 11)


_TEXTURES: Mapping[str, Callable[[Array, Array], Array]] = {
    "striped": _striped,
    "dotted": _dotted,
    "checkered": _checkered,
}


def texture_tone(texture: str, x: Array, y: Array) -> Array | float:
    """Factor of the colour, 1 or darker, of a texture at x, y in pixels of the thing's own frame."""
    if texture == "plain":
        return 1.0
    return 0.4 + 0.6 * np.clip(2.5 * _TEXTURES[texture](x, y) + 0.5, 0, 1)


PERIOD = 32
"""Pixels after which a background's pattern repeats itself both ways: a token's side."""


def pattern_tone(pattern: str, x: Array, y: Array) -> Array | float:
    """Factor of a background's colour at x, y in pixels of a picture 128 wide, from its middle."""
    if pattern == "plain":
        return 1.0
    x, y = 2 * math.pi * x / PERIOD, 2 * math.pi * y / PERIOD
    if pattern == "striped":
        wave = np.sin(x)
    elif pattern == "checkered":
        wave = np.sin(x) * np.sin(y)
    else:  # dark dots
        wave = 0.35 - np.cos(x) * np.cos(y)
    return 0.62 + 0.38 * np.clip(5 * wave + 0.5, 0, 1)
