"""Scenes to pictures: anti-aliased, every frame computed exactly from the scene.

Legend: F frames.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .scene import SIDE, Background, Scene, Thing
from .shapes import DISTANCES, pattern_tone, texture_tone
from .words import DIRECTIONS, PLACES, RGB, SIZES

Array = NDArray[np.floating[Any]]

TRAVEL = 20.0
"""Pixels of a picture 128 wide that a moving thing covers in 9 frames; longer clips cover more, but less a frame."""
_REFERENCE_FRAMES = 9
SPIN = math.radians(80)
GROWTH = 0.5  # of the radius, from end to end
ZOOM = 0.4
PAN = 26.0  # pixels, from end to end


@dataclass(frozen=True)
class Rendering:
    """Pictures of a scene, and where its things are.

    Args:
        frames: uint8 [F, height, width, 3].
        masks: float32 [things, F, height, width] in [0, 1], what is seen of each: those in front cover those behind.
    """

    frames: Tensor
    masks: Tensor


@dataclass(frozen=True)
class _Pose:
    """A thing in one frame: middle and radius in pixels, angle in radians."""

    x: float
    y: float
    radius: float
    angle: float


def progress(num_frames: int) -> list[float]:
    """Time of each frame, from -0.5 to 0.5; 0 for a still."""
    return [index / (num_frames - 1) - 0.5 if num_frames > 1 else 0.0 for index in range(num_frames)]


def travel(num_frames: int) -> float:
    """Pixels of a picture 128 wide that a moving thing covers from the first to the last frame."""
    return 0.0 if num_frames == 1 else TRAVEL * math.sqrt((num_frames - 1) / (_REFERENCE_FRAMES - 1))


def _pose(thing: Thing, time: float, num_frames: int) -> _Pose:
    place = PLACES[thing.place]
    direction = DIRECTIONS.get(thing.motion, (0.0, 0.0))
    way = travel(num_frames) * time
    growth = {"grows": GROWTH, "shrinks": -GROWTH}.get(thing.motion, 0.0)
    return _Pose(
        x=place[0] * SIDE + thing.offset[0] + direction[0] * way,
        y=place[1] * SIDE + thing.offset[1] + direction[1] * way,
        radius=SIZES[thing.size] * thing.scale * (1 + growth * time),
        angle=thing.angle + (SPIN * time if thing.motion == "spins" else 0.0),
    )


def _camera(camera: str, time: float) -> tuple[float, float]:
    """Zoom, and pixels by which the picture's content moves to the right."""
    zoom = {"zooms in": math.exp(ZOOM * time), "zooms out": math.exp(-ZOOM * time)}.get(camera, 1.0)
    return zoom, {"pans left": PAN * time, "pans right": -PAN * time}.get(camera, 0.0)


def _seen(pose: _Pose, zoom: float, shift: float) -> _Pose:
    half = SIDE / 2
    return _Pose(half + (pose.x - half) * zoom + shift, half + (pose.y - half) * zoom, pose.radius * zoom, pose.angle)


def _grid(height: int, width: int) -> tuple[Array, Array]:
    """Coordinates (y, x) of pixel middles in pixels of a picture 128 wide and high."""
    y = (np.arange(height, dtype=np.float32)[:, None] + 0.5) * (SIDE / height)
    x = (np.arange(width, dtype=np.float32)[None] + 0.5) * (SIDE / width)
    return y, x


def _paint_background(background: Background, zoom: float, shift: float, *, height: int, width: int) -> Array:
    y, x = _grid(height, width)
    half = SIDE / 2
    tone = pattern_tone(background.pattern, (x - half - shift) / zoom, (y - half) / zoom)
    tone = np.broadcast_to(np.asarray(tone, dtype=np.float32), (height, width))
    return tone[..., None] * np.asarray(background.rgb, dtype=np.float32)


def _paint_thing(thing: Thing, pose: _Pose, picture: Array, masks: Array) -> None:
    """Paint one thing on a picture [height, width, 3]; note what it covers in `masks` [things so far, height, width].

    Only the box around the thing is touched.
    """
    height, width = picture.shape[:2]
    scale_y, scale_x = height / SIDE, width / SIDE
    reach = 1.15 * pose.radius + 2
    top, bottom = max(0, int((pose.y - reach) * scale_y)), min(height, math.ceil((pose.y + reach) * scale_y))
    left, right = max(0, int((pose.x - reach) * scale_x)), min(width, math.ceil((pose.x + reach) * scale_x))
    if top >= bottom or left >= right:
        return
    y, x = _grid(height, width)
    down, along = y[top:bottom] - pose.y, x[:, left:right] - pose.x
    cos, sin = math.cos(pose.angle), math.sin(pose.angle)
    own_x, own_y = along * cos + down * sin, down * cos - along * sin  # turned back into the thing's frame
    distance = DISTANCES[thing.shape](own_x / pose.radius, own_y / pose.radius) * pose.radius * min(scale_x, scale_y)
    cover = np.clip(0.5 - distance, 0, 1)
    grown = SIZES[thing.size] * thing.scale / pose.radius  # a texture grows with its thing
    tone = texture_tone(thing.texture, own_x * grown, own_y * grown)
    box = picture[top:bottom, left:right]
    paint = np.asarray(tone, dtype=np.float32)[..., None] * np.asarray(thing.rgb, dtype=np.float32)
    box += (paint - box) * cover[..., None]
    masks[:-1, top:bottom, left:right] *= 1 - cover
    masks[-1, top:bottom, left:right] = cover


_GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_TINTS: Mapping[str, tuple[float, float, float]] = {"warm": (40.0, 5.0, -45.0), "cold": (-45.0, 0.0, 45.0)}


def apply_style(frames: Array, style: str) -> Array:
    """Colours [..., 3] in 0..255 changed as a whole."""
    if style == "black and white":
        return np.broadcast_to((frames @ _GREY)[..., None], frames.shape)
    if style in _TINTS:
        return np.clip(frames + np.asarray(_TINTS[style], dtype=np.float32), 0, 255)
    if style == "dark":
        return frames * 0.45
    return 255 - frames if style == "negative" else frames


def render(scene: Scene, *, num_frames: int, width: int = SIDE, height: int = SIDE) -> Rendering:
    """Pictures of a scene.

    Args:
        scene: What is seen.
        num_frames: Length of the clip; 1 for a still, the middle of what a clip would show.
        width: Of the picture, in pixels.
        height: Of the picture, in pixels; sizes and distances scale with both.

    Returns:
        Frames and masks.
    """
    frames = np.empty((num_frames, height, width, 3), dtype=np.float32)
    masks = np.zeros((len(scene.things), num_frames, height, width), dtype=np.float32)
    view: tuple[float, float] | None = None
    for index, time in enumerate(progress(num_frames)):
        zoom, shift = _camera(scene.camera, time)
        if (zoom, shift) != view:  # a camera that stands still sees the same background all the time
            view = zoom, shift
            behind = _paint_background(scene.background, zoom, shift, height=height, width=width)
        frames[index] = behind
        for number, thing in enumerate(scene.things):
            pose = _seen(_pose(thing, time, num_frames), zoom, shift)
            _paint_thing(thing, pose, frames[index], masks[: number + 1, index])
    styled = apply_style(frames, scene.style)
    return Rendering(torch.from_numpy((styled + 0.5).astype(np.uint8)), torch.from_numpy(masks))


def swatch(rgb: RGB, *, width: int = SIDE, height: int = SIDE) -> Tensor:
    """A picture of one colour, uint8 [1, height, width, 3]."""
    return torch.tensor(rgb, dtype=torch.uint8).expand(1, height, width, 3).clone()


def texture_sample(texture: str, *, width: int = SIDE, height: int = SIDE) -> Tensor:
    """A texture in grey that fills the picture, uint8 [1, height, width, 3]."""
    y, x = _grid(height, width)
    tone = np.broadcast_to(np.asarray(texture_tone(texture, x - SIDE / 2, y - SIDE / 2)), (height, width))
    grey = (170 * tone).astype(np.uint8)
    return torch.from_numpy(np.repeat(grey[None, ..., None], 3, axis=-1))


def silhouette(shape: str, *, width: int = SIDE, height: int = SIDE) -> Tensor:
    """A shape in white on dark, uint8 [1, height, width, 3]."""
    picture = np.full((height, width, 3), 30, dtype=np.float32)
    thing = Thing(shape, "", (245, 245, 245))
    _paint_thing(thing, _Pose(SIDE / 2, SIDE / 2, 44.0, 0.0), picture, np.zeros((1, height, width), dtype=np.float32))
    return torch.from_numpy((picture + 0.5).astype(np.uint8)[None])
