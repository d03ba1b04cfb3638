"""Which size and length suit a model, a source, and what an artist asks for in words."""

from __future__ import annotations

from collections.abc import Mapping

from ..loom_core.config.presets import Preset
from ..loom_core.errors import ConfigError
from ..loom_core.geometry import (
    IMAGE_BUCKETS,
    MAX_FRAMES,
    NATIVE_FPS,
    VIDEO_BUCKETS,
    closest_bucket,
    resample_indices,
    snap_frames,
)

AUTO, FROM_SOURCE = "auto", "from source"
RESOLUTIONS: Mapping[str, int | None] = {AUTO: None, "256p": 256, "480p": 640, "720p": 960}
"""What an artist calls a resolution -> nominal side of its trained sizes; None is the model's own."""
ASPECTS: Mapping[str, tuple[int, int] | None] = {
    FROM_SOURCE: None,
    **{
        f"{width}:{height}": (width, height)
        for width, height in (
            (16, 9), (9, 16), (1, 1), (4, 3), (3, 4), (3, 2), (2, 3), (21, 9), (9, 21),
        )
    },
}  # fmt: skip
"""Width to height; None is the source's, or without one the model's own."""


def choose_size(
    preset: Preset, *, resolution: str, aspect: str, source: tuple[int, int] | None, is_image: bool
) -> tuple[int, int]:
    """The trained size nearest to what is asked.

    Args:
        preset: What suits the model.
        resolution: A key of `RESOLUTIONS`.
        aspect: A key of `ASPECTS`.
        source: (width, height) of a source in pixels.
        is_image: Whether the result is a still, for which other sizes were trained.

    Returns:
        (width, height) in pixels.

    Raises:
        ConfigError: A word is unknown.
    """
    for word, known in ((resolution, RESOLUTIONS), (aspect, ASPECTS)):
        if word not in known:
            raise ConfigError(repr(word), expected=f"one of {', '.join(known)}", fix="choose one of these")
    width, height = ASPECTS[aspect] or source or (preset.width, preset.height)
    side = RESOLUTIONS[resolution]
    if side is None:
        return preset.size_like(width, height, is_image=is_image)
    buckets = IMAGE_BUCKETS if is_image else VIDEO_BUCKETS
    return closest_bucket(width, height, buckets=buckets, allowed_sides=(side,))


def choose_length(preset: Preset, length: int, *, source_frames: int | None, source_fps: float | None) -> int:
    """The number of frames nearest to what is asked, 4k + 1.

    Args:
        preset: What suits the model.
        length: Asked for; 0 leaves it to the source, or without one to the model.
        source_frames: Of the source.
        source_fps: Of the source, frames a second; None if it has none and its frames count as they are.

    Raises:
        ConfigError: `length` is below 0.
    """
    if length < 0:
        raise ConfigError(f"length {length}", expected="0 or more", fix="0 takes it from the source or the model")
    if length:
        return snap_frames(length)
    if source_frames is None:
        return preset.num_frames
    if source_fps is None:
        return snap_frames(min(source_frames, MAX_FRAMES))
    return len(resample_indices(source_fps, source_frames, target_fps=NATIVE_FPS, max_frames=MAX_FRAMES))
