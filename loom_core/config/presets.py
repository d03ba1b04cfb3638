"""Named starting points for a run: how large, how long, how many steps."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ..errors import ConfigError
from ..geometry import IMAGE_BUCKETS, VIDEO_BUCKETS, closest_bucket, snap_size
from ..types import Task
from .sampling import EDIT_TASKS, SamplingConfig, default_guidance_scale
from .speed import EXACT, Shortcuts, get_speed


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What a run takes where the request does not say.

    Args:
        num_inference_steps: Denoising steps.
        solver: Name of a solver.
        width: Of a result that has no source or reference to take its shape from, in pixels.
        height: The same.
        bucket_side: Nominal side of the trained sizes to choose from; None keeps the area of width x height instead.
        num_frames: Length of a generated clip.
        guidance_scale: Text guidance; None for the task's own.
        visual_guidance_scale: Visual guidance; None for the usual one.
        about: One line for `--help`.
    """

    num_inference_steps: int
    solver: str = "unipc"
    width: int = 832
    height: int = 480
    bucket_side: int | None = 640
    num_frames: int = 81
    guidance_scale: float | None = None
    visual_guidance_scale: float | None = None
    about: str = ""

    def size_like(self, width: int, height: int, *, is_image: bool) -> tuple[int, int]:
        """Size (width, height) of a result that should look like a picture of the given size, in pixels."""
        if self.bucket_side is not None:
            buckets = IMAGE_BUCKETS if is_image else VIDEO_BUCKETS
            return closest_bucket(width, height, buckets=buckets, allowed_sides=(self.bucket_side,))
        scale = math.sqrt(self.width * self.height / (width * height))
        return snap_size(width * scale, height * scale)


PRESETS: dict[str, Preset] = {
    "official": Preset(num_inference_steps=50, about="50 steps at 480p, as the released model is meant to run"),
    "draft": Preset(
        num_inference_steps=12, width=352, height=192, bucket_side=256, num_frames=33, about="12 steps, small and short"
    ),
    "tiny": Preset(
        num_inference_steps=12,
        width=128,
        height=128,
        bucket_side=None,
        num_frames=33,
        guidance_scale=2.0,
        visual_guidance_scale=1.5,
        about="12 steps at about 128x128, for the built-in model",
    ),
}
"""Presets by name."""


def get_preset(name: str) -> Preset:
    """Preset of a name.

    Raises:
        ConfigError: No preset has it.
    """
    if name not in PRESETS:
        raise ConfigError(
            f"preset {name!r}", expected=f"one of {', '.join(PRESETS)}", fix="leave it out for the default"
        )
    return PRESETS[name]


REUSE_AFTER = 0.3
"""Of a generation, whose first steps lay it out: what is lost there grows. An edit has its layout from the source.

Source: benchmarks/shortcuts.py; without it, text to video lost more than with half the steps.
"""


def shortcuts_for(task: Task, shortcuts: Shortcuts) -> Shortcuts:
    """Shortcuts as a task bears them: where nothing is edited, early steps are not reused."""
    if task in EDIT_TASKS or shortcuts.reuse_threshold == 0:
        return shortcuts
    return replace(shortcuts, reuse_after=max(shortcuts.reuse_after, REUSE_AFTER))


def sampling_config(
    preset: Preset,
    task: Task,
    *,
    num_inference_steps: int | None = None,
    shift: float | None = None,
    guidance_scale: float | None = None,
    visual_guidance_scale: float | None = None,
    solver: str | None = None,
    speed: str = EXACT,
    guidance_every: int | None = None,
) -> SamplingConfig:
    """Sampling settings: as asked, else the preset's, else the task's.

    Args:
        preset: Where the gaps are filled from.
        task: Has its own text guidance.
        num_inference_steps: Denoising steps; None for the preset's.
        shift: Of the schedule; None for the usual one, 0 to take it from the token count.
        guidance_scale: Text guidance; None for the preset's or the task's.
        visual_guidance_scale: Visual guidance; None for the preset's or the usual one.
        solver: Name of a solver; None for the preset's.
        speed: Name of a speed: what is left out.
        guidance_every: See `Shortcuts`; None for the speed's.

    Raises:
        ConfigError: A number is out of range, or no speed has the name.
    """
    defaults, shortcuts = SamplingConfig(), shortcuts_for(task, get_speed(speed).shortcuts)
    if guidance_every is not None:
        shortcuts = replace(shortcuts, guidance_every=guidance_every)

    def first(*values: float | None) -> float:
        return next(value for value in values if value is not None)

    return SamplingConfig(
        num_inference_steps=int(first(num_inference_steps, preset.num_inference_steps)),
        shift=defaults.shift if shift is None else (shift or None),
        guidance_scale=first(guidance_scale, preset.guidance_scale, default_guidance_scale(task)),
        visual_guidance_scale=first(
            visual_guidance_scale, preset.visual_guidance_scale, defaults.visual_guidance_scale
        ),
        solver=solver or preset.solver,
        shortcuts=shortcuts,
    )
