"""What the world is made of, as data: the words of captions and instructions, and what each looks like."""

from __future__ import annotations

from collections.abc import Mapping

RGB = tuple[int, int, int]

COLOURS: Mapping[str, RGB] = {
    "red": (225, 40, 40),
    "green": (40, 165, 60),
    "blue": (45, 80, 225),
    "yellow": (245, 215, 45),
    "purple": (150, 50, 200),
    "cyan": (60, 205, 215),
    "orange": (245, 130, 30),
    "pink": (250, 150, 200),
    "white": (242, 242, 242),
}
"""Colours of things."""

TONES: Mapping[str, RGB] = {
    "grey": (125, 125, 125),
    "black": (24, 24, 24),
    "navy": (28, 34, 92),
    "beige": (214, 198, 160),
    "teal": (18, 92, 92),
    "maroon": (98, 26, 44),
    "olive": (100, 104, 40),
}
"""Colours of backgrounds; none is close to a thing's."""

SHAPES = ("circle", "square", "triangle", "star", "ring", "cross", "moon")
ROUND_SHAPES = frozenset({"circle", "ring"})
"""Shapes whose turning shows only in their texture."""

TEXTURES = ("plain", "striped", "dotted", "checkered")
PATTERNS = ("plain", "striped", "checkered", "dotted")
"""Of backgrounds; each repeats itself every 32 pixels, a token's side, so that no token has to know its place."""

SIZES: Mapping[str, float] = {"small": 19.0, "large": 26.0}
"""Radius in pixels of a picture 128 pixels wide."""

PLACES: Mapping[str, tuple[float, float]] = {
    "top left": (0.25, 0.25),
    "top": (0.5, 0.25),
    "top right": (0.75, 0.25),
    "left": (0.25, 0.5),
    "middle": (0.5, 0.5),
    "right": (0.75, 0.5),
    "bottom left": (0.25, 0.75),
    "bottom": (0.5, 0.75),
    "bottom right": (0.75, 0.75),
}
"""Name -> (x, y) in parts of the picture's width and height, of the middle of a thing's path."""

STEP = 0.25
"""From one place to the next, in parts of the picture."""

RELATIONS: Mapping[str, tuple[int, int]] = {
    "left of": (-2, 0),
    "right of": (2, 0),
    "above": (0, -2),
    "below": (0, 2),
    "above and left of": (-1, -1),
    "above and right of": (1, -1),
    "below and left of": (-1, 1),
    "below and right of": (1, 1),
}
"""Words for where one thing is beside another -> (x, y) from the other to the one, in steps."""

MOTIONS = ("stays still", "moves left", "moves right", "moves up", "moves down", "spins", "grows", "shrinks")
DIRECTIONS: Mapping[str, tuple[float, float]] = {
    "moves left": (-1.0, 0.0),
    "moves right": (1.0, 0.0),
    "moves up": (0.0, -1.0),
    "moves down": (0.0, 1.0),
}
"""Motion -> (x, y) of its direction; y points down."""

CAMERAS = ("stays still", "zooms in", "zooms out", "pans left", "pans right")
STYLES = ("none", "black and white", "warm", "cold", "dark", "negative")
