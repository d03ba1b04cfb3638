"""Which size and which part of a clip a sample gets."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from ..config.data import FramingConfig
from ..geometry import IMAGE_BUCKETS, VIDEO_BUCKETS, closest_bucket, cover_crop

_ROUNDING = 1e-3  # frames; lengths come from rounded time stamps


@dataclass(frozen=True, kw_only=True)
class Framing(FramingConfig):
    """The settings of `config.data.FramingConfig` at work."""

    @classmethod
    def of(cls, config: FramingConfig) -> Framing:
        """The framing that a configuration asks for."""
        return cls(**{entry.name: getattr(config, entry.name) for entry in fields(FramingConfig)})

    def size_of(self, width: int, height: int, *, is_image: bool) -> tuple[int, int]:
        """The (width, height) that a picture of the given size is brought to, in pixels.

        Args:
            width: Pixels.
            height: Pixels.
            is_image: Which of the trained tables counts.

        Raises:
            ValueError: None fits; the message says why.
        """
        if self.sizes:  # nearest aspect ratio, then nearest area, so that the first of equals does not always win
            size = min(
                self.sizes,
                key=lambda size: (abs(size[0] / size[1] - width / height), abs(size[0] * size[1] - width * height)),
            )
        else:
            buckets = IMAGE_BUCKETS if is_image else VIDEO_BUCKETS
            size = closest_bucket(width, height, buckets=buckets, allowed_sides=self.buckets)
        crop = cover_crop(width, height, target_width=size[0], target_height=size[1])
        cropped = 1 - size[0] * size[1] / (crop.scaled_width * crop.scaled_height)
        enlarged = crop.scaled_width / width
        chosen = f"{size[0]}x{size[1]} of data.{'sizes' if self.sizes else 'buckets'}"
        if enlarged > self.max_enlarge:
            raise ValueError(
                f"{width}x{height} would be enlarged {enlarged:.1f} times to {chosen}; data.max_enlarge allows "
                f"{self.max_enlarge:g}"
            )
        if cropped > self.max_cropped:
            raise ValueError(
                f"{width}x{height} would lose {cropped:.0%} of its area to become {chosen}; data.max_cropped allows "
                f"{self.max_cropped:.0%}"
            )
        return size

    def start_at(self, share: float, duration_seconds: float) -> float:
        """Where a clip begins, in seconds, on the grid of the frame rate.

        Args:
            share: Of the range of starts that leave a clip its full length, from 0 to below 1.
            duration_seconds: Of the shorter of target and source, the last frame's own time included.
        """
        spare = math.floor(duration_seconds * self.fps + _ROUNDING) - self.num_frames
        return math.floor(share * (max(0, spare) + 1)) / self.fps
