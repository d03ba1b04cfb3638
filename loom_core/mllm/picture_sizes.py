"""The size at which Qwen3-VL looks at a picture: arithmetic alone, without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import ConfigError

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
