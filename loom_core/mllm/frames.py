"""Which frames of a source clip the MLLM sees, and the time it is told for each.

Two thinnings, one after the other, as in training: first T // 15 evenly spaced frames, then Qwen's own video
processor, which takes the result for a clip of 24 frames a second and keeps 2 a second, but at least 4. In practice
the model sees 2 to 4 frames whatever the length. More of the T // 15 can be kept as an option.

Source: official `temporal_downsample_for_vlm`; `sample_frames` and `_calculate_timestamps` of transformers'
`Qwen3VLVideoProcessor` and `Qwen3VLProcessor`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import ConfigError

FRAMES_A_PICK = 15
TRAINED_MAX_FRAMES = 4
ASSUMED_FPS = 24.0
_SAMPLED_FPS = 2.0
_PROCESSOR_MAX_FRAMES = 768


def downsample_indices(num_frames: int) -> list[int]:
    """First thinning: T // 15 evenly spaced frames, all of them up to 15.

    Args:
        num_frames: Frames of the source, at least 1.

    Returns:
        Rising indices into the source; first and last where the rule would leave only one of several frames.

    Source: official `temporal_downsample_for_vlm`.
    """
    if num_frames <= FRAMES_A_PICK:
        return list(range(num_frames))
    count = num_frames // FRAMES_A_PICK
    if count == 1:  # the official code picks frame 0 alone, and then fails: a clip needs two
        return [0, num_frames - 1]
    return np.linspace(0, num_frames - 1, count, dtype=int).tolist()


def processor_indices(num_frames: int, *, max_frames: int = TRAINED_MAX_FRAMES) -> list[int]:
    """Second thinning, by Qwen's video processor.

    Args:
        num_frames: Frames handed to the processor, at least 1.
        max_frames: How many of them are kept (the processor's own minimum, 4, is the trained value). Very long clips
            keep two a second if that is more.

    Returns:
        Rising indices into those frames.

    Raises:
        ConfigError: `max_frames` is below 2.
    """
    if max_frames < 2:  # noqa: PLR2004 - one temporal patch
        raise ConfigError(f"{max_frames} frames for the MLLM", expected="2 or more", fix="4 is the trained value")
    sampled = int(num_frames / ASSUMED_FPS * _SAMPLED_FPS)
    count = min(max(sampled, max_frames), _PROCESSOR_MAX_FRAMES, num_frames)
    return np.linspace(0, num_frames - 1, count).round().astype(int).tolist()


def source_frame_indices(num_frames: int, *, max_frames: int = TRAINED_MAX_FRAMES) -> list[int]:
    """Source frames that the MLLM sees after both thinnings; two or more if the source has two or more."""
    first = downsample_indices(num_frames)
    return [first[index] for index in processor_indices(len(first), max_frames=max_frames)]


def timestamps(indices: Sequence[int], *, temporal_patch: int = 2) -> list[float]:
    """Time in seconds that the prompt gives for each temporal patch: the mean of its first and last frame.

    Args:
        indices: What the processor kept, as indices into the frames handed to it (not into the source).
        temporal_patch: Frames a patch; the last frame fills up the last patch.

    Returns:
        One time a patch, in seconds at the assumed 24 frames a second.
    """
    filled = [*indices, *[indices[-1]] * (-len(indices) % temporal_patch)]
    return [
        (filled[start] / ASSUMED_FPS + filled[start + temporal_patch - 1] / ASSUMED_FPS) / 2
        for start in range(0, len(filled), temporal_patch)
    ]
