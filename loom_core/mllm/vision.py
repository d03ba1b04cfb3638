"""Pictures to the flat patches that Qwen3-VL's vision tower reads.

One path for stills and clips, in plain torch. It gives the pixels of transformers' Qwen2-VL image processor and
Qwen3-VL video processor exactly, without torchvision, which those need, and the same under every transformers version.

Legend: T frames, C channels, t h w patches along time, height and width (the grid), m spatial merge, P = t h w.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from einops import rearrange, repeat
from torch import Tensor

from ..errors import WeightsError
from .picture_sizes import IMAGE_SETTINGS, VIDEO_SETTINGS, VisionSettings, smart_resize


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
