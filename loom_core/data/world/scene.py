"""A scene as data: things, background, camera, style. Everything that can be said or seen follows from it."""

from __future__ import annotations

from dataclasses import dataclass

from .words import RGB

SIDE = 128
"""Width and height that sizes and distances are given for, in pixels."""


@dataclass(frozen=True)
class Thing:
    """One coloured shape.

    Args:
        shape: Of `words.SHAPES`.
        colour: Of `words.COLOURS`; "" for one that has no name.
        rgb: What it looks like.
        texture: Of `words.TEXTURES`.
        size: Of `words.SIZES`.
        place: Of `words.PLACES`, where the middle of its path lies.
        motion: Of `words.MOTIONS`.
        offset: (x, y) from the exact place, in pixels.
        angle: At the middle of the clip, in radians.
        scale: Factor of the size.
    """

    shape: str
    colour: str
    rgb: RGB
    texture: str = "plain"
    size: str = "large"
    place: str = "middle"
    motion: str = "stays still"
    offset: tuple[float, float] = (0.0, 0.0)
    angle: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True)
class Background:
    """What is behind the things.

    Args:
        tone: Of `words.TONES`.
        rgb: What it looks like.
        pattern: Of `words.PATTERNS`.
    """

    tone: str
    rgb: RGB
    pattern: str = "plain"


@dataclass(frozen=True)
class Scene:
    """All of a clip but its length.

    Args:
        things: From back to front; shapes differ, so that each can be named.
        background: What is behind them.
        camera: Of `words.CAMERAS`.
        style: Of `words.STYLES`.
    """

    things: tuple[Thing, ...]
    background: Background
    camera: str = "stays still"
    style: str = "none"
