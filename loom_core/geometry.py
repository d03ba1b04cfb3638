"""Pixel, latent and token arithmetic of LoomVideo, and the sizes it was trained on.

The Wan 2.2 VAE makes one latent of 16 x 16 pixels x 4 frames (the first frame stands alone, so clips have 4k + 1
frames); the DiT makes one token of 2 x 2 latents. Hence widths and heights are multiples of 32 pixels.

Source: official `src/dataset/utils.py` (buckets), `scripts/inference/generate.py` (resize and crop, frame picks).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .errors import ConfigError
from .phrases import phrase

SPATIAL_STRIDE = 16  # pixels a latent, along height and width
TEMPORAL_STRIDE = 4  # frames a latent, after the first
PATCH = 2  # latents a token, along height and width
SIZE_MULTIPLE = SPATIAL_STRIDE * PATCH
NATIVE_FPS = 24.0
MAX_FRAMES = 121  # longest clip in training

_COMMON_BUCKETS: dict[int, tuple[tuple[int, int], ...]] = {
    256: (
        (256, 256), (288, 224), (224, 288), (320, 224), (224, 320),
        (352, 192), (192, 352), (384, 160), (160, 384),
    ),
    640: (
        (640, 640), (704, 544), (544, 704), (768, 512), (512, 768),
        (832, 480), (480, 832), (960, 416), (416, 960),
    ),
}  # fmt: skip
IMAGE_BUCKETS: dict[int, tuple[tuple[int, int], ...]] = {
    **_COMMON_BUCKETS,
    960: (
        (960, 960), (1088, 864), (864, 1088), (1152, 800), (800, 1152),
        (1280, 704), (704, 1280), (1472, 608), (608, 1472),
    ),
}  # fmt: skip
"""Nominal side in pixels -> trained (width, height) pairs for images."""
VIDEO_BUCKETS: dict[int, tuple[tuple[int, int], ...]] = {
    **_COMMON_BUCKETS,
    960: (
        (960, 960), (1088, 864), (864, 1088), (1152, 800), (800, 1152),
        (1280, 704), (704, 1280), (960, 704), (704, 960), (1472, 608), (608, 1472),
    ),
}  # fmt: skip
"""Nominal side in pixels -> trained (width, height) pairs for clips."""


@dataclass(frozen=True)
class LatentShape:
    """Size of one sample's latents: frames, rows and columns."""

    frames: int
    height: int
    width: int

    @property
    def tokens(self) -> int:
        """Number of DiT tokens (one for every 2 x 2 latents of a frame)."""
        return self.frames * (self.height // PATCH) * (self.width // PATCH)


def latent_frames(num_frames: int) -> int:
    """Number of latent frames that hold `num_frames` (4k + 1) frames."""
    return (num_frames - 1) // TEMPORAL_STRIDE + 1


def video_frames(num_latents: int) -> int:
    """Number of frames that `num_latents` latent frames hold; the inverse of `latent_frames`."""
    return (num_latents - 1) * TEMPORAL_STRIDE + 1


def latent_shape(num_frames: int, height: int, width: int) -> LatentShape:
    """Latent size of a clip given in frames and pixels."""
    return LatentShape(latent_frames(num_frames), height // SPATIAL_STRIDE, width // SPATIAL_STRIDE)


def snap_frames(num_frames: int) -> int:
    """Largest 4k + 1 that is not above `num_frames` (at least 1)."""
    return max(1, (num_frames - 1) // TEMPORAL_STRIDE * TEMPORAL_STRIDE + 1)


def snap_size(width: float, height: float) -> tuple[int, int]:
    """Nearest (width, height) in pixels with both sides multiples of 32 and at least 32; of two as near the smaller."""

    def nearest(side: float) -> int:
        return max(SIZE_MULTIPLE, math.ceil(side / SIZE_MULTIPLE - 0.5) * SIZE_MULTIPLE)

    return nearest(width), nearest(height)


def check_frames(num_frames: int) -> None:
    """Refuse a frame count that the VAE cannot hold.

    Raises:
        ConfigError: `num_frames` is below 1 or not 4k + 1.
    """
    if num_frames >= 1 and (num_frames - 1) % TEMPORAL_STRIDE == 0:
        return
    below = snap_frames(num_frames)
    fix: str = "use 1 for an image, 5 or more for a clip"
    if num_frames > 1:
        fix = phrase("use {this} or {that}", this=below, that=below + TEMPORAL_STRIDE)
    raise ConfigError(
        phrase("{frames} frames", frames=num_frames), expected="a count of the form 4k + 1 (1, 5, 9 ... 121)", fix=fix
    )


def check_size(width: int, height: int) -> None:
    """Refuse a size whose sides are not multiples of 32 pixels (the official code goes wrong silently there).

    Raises:
        ConfigError: A side is below 32 or not a multiple of 32; the message offers the nearest size.
    """
    if min(width, height) >= SIZE_MULTIPLE and width % SIZE_MULTIPLE == 0 and height % SIZE_MULTIPLE == 0:
        return
    near_width, near_height = snap_size(width, height)
    raise ConfigError(
        phrase("size {width}x{height}", width=width, height=height),
        expected=phrase("width and height to be multiples of {multiple} pixels", multiple=SIZE_MULTIPLE),
        fix=phrase("use {width}x{height}", width=near_width, height=near_height),
    )


def closest_bucket(
    width: int,
    height: int,
    *,
    buckets: dict[int, tuple[tuple[int, int], ...]] = VIDEO_BUCKETS,
    allowed_sides: tuple[int, ...] | None = None,
) -> tuple[int, int]:
    """Trained (width, height) that suits a picture best: nearest area first, then nearest aspect ratio.

    Args:
        width: Picture width in pixels.
        height: Picture height in pixels.
        buckets: `IMAGE_BUCKETS` or `VIDEO_BUCKETS`.
        allowed_sides: Nominal sides to choose from; all when None.

    Returns:
        (width, height) in pixels; the first of the table on a tie.

    Raises:
        ConfigError: No side of the table is allowed.
    """
    sides = [side for side in buckets if allowed_sides is None or side in allowed_sides]
    if not sides:
        raise ConfigError(
            f"bucket sides {allowed_sides}", expected=f"some of {sorted(buckets)}", fix="name one of those"
        )
    side = min(sides, key=lambda candidate: abs(candidate**2 - width * height))
    return min(buckets[side], key=lambda size: abs(size[0] / size[1] - width / height))


@dataclass(frozen=True)
class CoverCrop:
    """How a picture becomes another size: scale to cover it, then cut the centre. All in pixels."""

    scaled_width: int
    scaled_height: int
    left: int
    top: int


def cover_crop(width: int, height: int, *, target_width: int, target_height: int) -> CoverCrop:
    """Scale and centre crop that fill the target size and keep the aspect ratio.

    Source: official `resize_and_crop`; the crop offset is torchvision's `center_crop`.
    """
    scale = max(target_width / width, target_height / height)
    scaled_width, scaled_height = round(width * scale), round(height * scale)
    left = round((scaled_width - target_width) / 2.0)
    top = round((scaled_height - target_height) / 2.0)
    return CoverCrop(scaled_width, scaled_height, left, top)


@dataclass(frozen=True)
class ContainBox:
    """Where a picture lies in another size that it fits into whole. All in pixels."""

    width: int
    height: int
    left: int
    top: int


def contain_box(width: int, height: int, *, target_width: int, target_height: int) -> ContainBox:
    """The largest place for a picture in the middle of the target size that keeps its aspect ratio."""
    scale = min(target_width / width, target_height / height)
    inner_width, inner_height = max(1, round(width * scale)), max(1, round(height * scale))
    return ContainBox(inner_width, inner_height, (target_width - inner_width) // 2, (target_height - inner_height) // 2)


def resample_indices(
    source_fps: float, source_frames: int, *, target_fps: float = NATIVE_FPS, max_frames: int = MAX_FRAMES
) -> list[int]:
    """Indices of the source frames that make a clip of the target rate, cut to 4k + 1.

    Args:
        source_fps: Average rate of the source, frames a second, above 0.
        source_frames: Number of frames in the source, at least 1.
        target_fps: Rate of the result, frames a second.
        max_frames: Longest result.

    Returns:
        A list of 4k + 1 indices, rising from 0.

    Source: official `load_video`.
    """
    duration = (max_frames - 1) / target_fps
    in_range = min(int(source_fps * duration) + 1, source_frames)
    interval = source_fps / target_fps
    indices: list[int] = []
    position = 0.0
    while True:
        indices.append(min(round(position), source_frames - 1))
        position += interval
        # parity: official `load_video` stops after this many frames whatever the interval
        if round(position) >= in_range or len(indices) > max_frames * 3:
            break
    return indices[: snap_frames(min(len(indices), max_frames))]
