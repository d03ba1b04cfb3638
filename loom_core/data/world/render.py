"""Scenes to pictures: anti-aliased, every frame computed exactly from the scene.

Legend: F frames.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .scene import SIDE, Scene, Thing
from .shapes import DISTANCES, pattern_tone, texture_tone
from .words import DIRECTIONS, PLACES, RGB, SIZES, STYLES

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


@lru_cache(maxsize=8)
def _grid(height: int, width: int) -> tuple[Array, Array]:
    """Coordinates (y, x) of pixel middles in pixels of a picture 128 wide and high."""
    y = (np.arange(height, dtype=np.float32)[:, None] + 0.5) * (SIDE / height)
    x = (np.arange(width, dtype=np.float32)[None] + 0.5) * (SIDE / width)
    return y, x


@lru_cache(maxsize=64)
def _pattern(pattern: str, zoom: float, shift: float, height: int, width: int) -> Array:
    """Tone of a background as the camera sees it, [height, width]."""
    y, x = _grid(height, width)
    half = SIDE / 2
    tone = pattern_tone(pattern, (x - half - shift) / zoom, (y - half) / zoom)
    return np.broadcast_to(np.asarray(tone, dtype=np.float32), (height, width))


@dataclass(frozen=True)
class _Layer:
    """What one thing puts into one frame.

    Args:
        rows: Of the box around it; all else is left alone.
        columns: Of the same.
        cover: How much of each pixel it covers, 0 to 1, [rows, columns].
        tone: Factor of its colour, [rows, columns], or one for all pixels.
    """

    rows: slice
    columns: slice
    cover: Array
    tone: Array


@lru_cache(maxsize=256)  # before and after an edit most things are the same, and one that rests is so in all frames
def _layer(shape: str, texture: str, grown: float, pose: _Pose, size: tuple[int, int]) -> _Layer | None:
    """A thing whose texture is `grown` times as fine as usual; None where it is out of the picture (height, width)."""
    height, width = size
    scale_y, scale_x = height / SIDE, width / SIDE
    reach = 1.15 * pose.radius + 2
    top, bottom = max(0, int((pose.y - reach) * scale_y)), min(height, math.ceil((pose.y + reach) * scale_y))
    left, right = max(0, int((pose.x - reach) * scale_x)), min(width, math.ceil((pose.x + reach) * scale_x))
    if top >= bottom or left >= right:
        return None
    y, x = _grid(height, width)
    down, along = y[top:bottom] - pose.y, x[:, left:right] - pose.x
    cos, sin = math.cos(pose.angle), math.sin(pose.angle)
    own_x, own_y = along * cos + down * sin, down * cos - along * sin  # turned back into the thing's frame
    distance = DISTANCES[shape](own_x / pose.radius, own_y / pose.radius) * pose.radius * min(scale_x, scale_y)
    tone = np.asarray(texture_tone(texture, own_x * grown, own_y * grown), dtype=np.float32)
    return _Layer(slice(top, bottom), slice(left, right), np.clip(0.5 - distance, 0, 1), tone)


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


def _levels(rgb: RGB) -> Array:
    return np.asarray(rgb, dtype=np.float32)[:, None, None]


def _paint(layer: _Layer, rgb: RGB, picture: Array) -> None:
    """Paint a layer on a picture [3, height, width]."""
    box = picture[:, layer.rows, layer.columns]
    box += (layer.tone * _levels(rgb) - box) * layer.cover


def _finish(picture: Array, frame: NDArray[np.uint8], style: str = STYLES[0]) -> None:
    """Write a picture [3, height, width] in 0..255 into a frame [height, width, 3] in a style."""
    if style != STYLES[0]:
        picture = np.moveaxis(apply_style(np.moveaxis(picture, 0, -1), style), -1, 0)
    levels = (picture + 0.5).astype(np.uint8)
    for channel in range(3):  # twice as fast as a copy of the whole in another order
        frame[..., channel] = levels[channel]


def _layers(scene: Scene, num_frames: int, width: int, height: int) -> list[list[_Layer | None]]:
    """Of each thing in each frame: [F][things]."""
    layers = []
    for time in progress(num_frames):
        zoom, shift = _camera(scene.camera, time)
        poses = [_seen(_pose(thing, time, num_frames), zoom, shift) for thing in scene.things]
        layers.append(
            [
                # a texture grows with its thing
                _layer(thing.shape, thing.texture, SIZES[thing.size] * thing.scale / pose.radius, pose, (height, width))
                for thing, pose in zip(scene.things, poses, strict=True)
            ]
        )
    return layers


def _frames(scene: Scene, layers: list[list[_Layer | None]], width: int, height: int) -> Tensor:
    """Pictures of what the layers put before the scene's background, uint8 [F, height, width, 3]."""
    frames = np.empty((len(layers), height, width, 3), dtype=np.uint8)
    picture = np.empty((3, height, width), dtype=np.float32)  # one for all, so that it stays in the cache
    for frame, time, of_frame in zip(frames, progress(len(layers)), layers, strict=True):
        tone = _pattern(scene.background.pattern, *_camera(scene.camera, time), height, width)
        np.multiply(tone, _levels(scene.background.rgb), out=picture)
        for thing, layer in zip(scene.things, of_frame, strict=True):
            if layer is not None:
                _paint(layer, thing.rgb, picture)
        _finish(picture, frame, scene.style)
    return torch.from_numpy(frames)


def _masks(layers: list[list[_Layer | None]], count: int, width: int, height: int) -> Tensor:
    """What is seen of each of `count` things, float32 [things, F, height, width]."""
    masks = np.zeros((count, len(layers), height, width), dtype=np.float32)
    for index, of_frame in enumerate(layers):
        for number, layer in enumerate(of_frame):
            if layer is not None:
                masks[:number, index, layer.rows, layer.columns] *= 1 - layer.cover
                masks[number, index, layer.rows, layer.columns] = layer.cover
    return torch.from_numpy(masks)


def render(scene: Scene, *, num_frames: int, width: int = SIDE, height: int = SIDE) -> Rendering:
    """Pictures of a scene, and where its things are.

    Args:
        scene: What is seen.
        num_frames: Length of the clip; 1 for a still, the middle of what a clip would show.
        width: Of the picture, in pixels.
        height: Of the picture, in pixels; sizes and distances scale with both.

    Returns:
        Frames and masks.
    """
    layers = _layers(scene, num_frames, width, height)
    return Rendering(_frames(scene, layers, width, height), _masks(layers, len(scene.things), width, height))


def pictures(scene: Scene, *, num_frames: int, width: int = SIDE, height: int = SIDE) -> Tensor:
    """The frames of `render` alone, uint8 [F, height, width, 3]: many things make their masks large."""
    return _frames(scene, _layers(scene, num_frames, width, height), width, height)


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
    picture, frame = np.full((3, height, width), 30, dtype=np.float32), np.empty((height, width, 3), dtype=np.uint8)
    layer = _layer(shape, "plain", 1.0, _Pose(SIDE / 2, SIDE / 2, 44.0, 0.0), (height, width))
    assert layer is not None
    _paint(layer, (245, 245, 245), picture)
    _finish(picture, frame)
    return torch.from_numpy(frame[None])
