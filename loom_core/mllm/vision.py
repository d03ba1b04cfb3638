"""Pictures to the flat patches that Qwen3-VL's vision tower reads.

One path for stills and clips, in plain torch. It gives the pixels of transformers' Qwen2-VL image processor and
Qwen3-VL video processor exactly, without torchvision, which those need, and the same under every transformers version.

Legend: T frames, C channels, t h w patches along time, height and width (the grid), m spatial merge, P = t h w.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from einops import rearrange, repeat
from torch import Tensor

from ..errors import ConfigError, WeightsError

_MAX_ASPECT_RATIO = 200


@dataclass(frozen=True)
class VisionSettings:
    """How pictures of one kind become patches.

    Args:
        min_pixels: Smaller pictures are enlarged to this many pixels (all frames of a clip together).
        max_pixels: Larger ones are reduced to it.
        patch_size: Side of a patch in pixels.
        merge_size: Patches along each side that become one token.
        temporal_patch_size: Frames a patch.
        image_mean: Of each channel, for pixels in [0, 1].
        image_std: Of each channel.
    """

    min_pixels: int
    max_pixels: int
    patch_size: int = 16
    merge_size: int = 2
    temporal_patch_size: int = 2
    image_mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    image_std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    @property
    def factor(self) -> int:
        """Pixels that one token spans along each side."""
        return self.patch_size * self.merge_size


IMAGE_SETTINGS = VisionSettings(min_pixels=256 * 256, max_pixels=4096 * 4096)
"""Source: `preprocessor_config.json` of Qwen3-VL-8B-Instruct."""
VIDEO_SETTINGS = VisionSettings(min_pixels=4096, max_pixels=25_165_824)
"""Source: `video_preprocessor_config.json` of Qwen3-VL-8B-Instruct."""


@dataclass(frozen=True)
class VisionPatches:
    """One still or clip, ready for the vision tower.

    Args:
        pixels: [P, C * temporal_patch * patch * patch], float32, in the order of merged tokens.
        grid: (t, h, w) in patches.
        merge_size: Patches along each side that become one token.
    """

    pixels: Tensor
    grid: tuple[int, int, int]
    merge_size: int

    @property
    def tokens_a_frame(self) -> int:
        """Tokens of one temporal patch."""
        return self.grid[1] * self.grid[2] // self.merge_size**2


def load_vision_settings(folder: Path) -> tuple[VisionSettings, VisionSettings]:
    """Settings for stills and for clips, from the processor files of a model folder.

    Args:
        folder: May hold `preprocessor_config.json` and `video_preprocessor_config.json`; what is absent comes from
            Qwen3-VL-8B-Instruct.

    Raises:
        WeightsError: A file is not JSON, or its sizes are missing or not numbers.
    """
    return (
        _read_settings(folder / "preprocessor_config.json", default=IMAGE_SETTINGS),
        _read_settings(folder / "video_preprocessor_config.json", default=VIDEO_SETTINGS),
    )


def _read_settings(path: Path, *, default: VisionSettings) -> VisionSettings:
    if not path.is_file():
        return default
    try:
        values: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        size = values.get("size") or {}
        # older files name the limits directly
        return VisionSettings(
            min_pixels=int(size.get("shortest_edge") or values.get("min_pixels") or default.min_pixels),
            max_pixels=int(size.get("longest_edge") or values.get("max_pixels") or default.max_pixels),
            patch_size=int(values.get("patch_size", default.patch_size)),
            merge_size=int(values.get("merge_size", default.merge_size)),
            temporal_patch_size=int(values.get("temporal_patch_size", default.temporal_patch_size)),
            image_mean=_three(values.get("image_mean", default.image_mean)),
            image_std=_three(values.get("image_std", default.image_std)),
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"{path.name} that cannot be read ({error})",
            expected="the processor settings of a Qwen3-VL folder",
            fix="download the file again, or delete it to use the defaults of Qwen3-VL-8B",
        ) from error


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def smart_resize(height: int, width: int, *, settings: VisionSettings, num_frames: int = 1) -> tuple[int, int]:
    """Nearest size in whole tokens whose pixels lie within the limits, at the picture's aspect ratio.

    Args:
        height: In pixels.
        width: In pixels.
        settings: Limits and token size.
        num_frames: Frames that share the limits; 1 for a still.

    Returns:
        (height, width) in pixels.

    Raises:
        ConfigError: One side is more than 200 times the other.

    Source: `smart_resize` of transformers' Qwen2-VL image and Qwen3-VL video processor.
    """
    if max(height, width) / min(height, width) > _MAX_ASPECT_RATIO:
        raise ConfigError(
            f"a picture of {width}x{height}",
            expected=f"sides of a ratio up to {_MAX_ASPECT_RATIO}",
            fix="crop the picture",
        )
    factor, pixels = settings.factor, num_frames * height * width
    counted_frames = (
        num_frames
        if num_frames == 1
        else round(num_frames / settings.temporal_patch_size) * (settings.temporal_patch_size)
    )
    new_height, new_width = round(height / factor) * factor, round(width / factor) * factor
    if counted_frames * new_height * new_width > settings.max_pixels:
        shrink = math.sqrt(pixels / settings.max_pixels)
        new_height = math.floor(height / shrink / factor) * factor
        new_width = math.floor(width / shrink / factor) * factor
    elif counted_frames * new_height * new_width < settings.min_pixels:
        grow = math.sqrt(settings.min_pixels / pixels)
        new_height = math.ceil(height * grow / factor) * factor
        new_width = math.ceil(width * grow / factor) * factor
    return max(factor, new_height), max(factor, new_width)


def empty_patches(frames: Tensor, *, settings: VisionSettings) -> VisionPatches:
    """The grid that `vision_patches` gives, without a pixel: enough to count tokens."""
    num_frames, height, width, _ = frames.shape
    size = smart_resize(height, width, settings=settings, num_frames=num_frames)
    grid = _grid(-(-num_frames // settings.temporal_patch_size), size, settings)
    return VisionPatches(torch.empty(0), grid, settings.merge_size)


def _grid(temporal_patches: int, size: tuple[int, int], settings: VisionSettings) -> tuple[int, int, int]:
    return temporal_patches, size[0] // settings.patch_size, size[1] // settings.patch_size


def vision_patches(frames: Tensor, *, settings: VisionSettings) -> VisionPatches:
    """Resize, normalise and cut a still or the chosen frames of a clip.

    Args:
        frames: uint8 [T, height, width, 3]; T 1 for a still.
        settings: Those of stills or of clips.

    Returns:
        The patches; the last frame is repeated where the last temporal patch is not full.
    """
    num_frames, height, width, _ = frames.shape
    size = smart_resize(height, width, settings=settings, num_frames=num_frames)
    pixels = rearrange(frames.cpu(), "T y x C -> T C y x")
    if size != (height, width):
        # on uint8, as the processors do it: the filter's overshoot is clipped and rounded there
        pixels = torch.nn.functional.interpolate(pixels, size, mode="bicubic", antialias=True)
    mean = torch.tensor(settings.image_mean).view(3, 1, 1) * 255
    std = torch.tensor(settings.image_std).view(3, 1, 1) * 255
    pixels = (pixels.float() - mean) / std  # [T, C, y, x]
    missing = -num_frames % settings.temporal_patch_size
    if missing:
        pixels = torch.cat([pixels, repeat(pixels[-1], "C y x -> T C y x", T=missing)])
    grid = _grid(pixels.shape[0] // settings.temporal_patch_size, size, settings)
    flat = rearrange(
        pixels,
        "(t p) C (h m y) (w n x) -> (t h w m n) (C p y x)",
        p=settings.temporal_patch_size,
        m=settings.merge_size,
        n=settings.merge_size,
        y=settings.patch_size,
        x=settings.patch_size,
    )  # [P, C * p * y * x]
    return VisionPatches(flat, grid, settings.merge_size)
