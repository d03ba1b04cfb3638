"""How a run samples: steps, shift, guidance; and the defaults a task has."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ..errors import ConfigError
from ..types import Task
from .speed import Shortcuts

MAX_STEPS = 1000
MAX_GUIDANCE = 30.0

DEFAULT_NEGATIVE_PROMPT = (
    "Generate an image: "
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，"
    "JPEG压缩残留，丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，"
    "手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"
)
"""Source: official `configs/inference/generation.yaml`. parity: with "Generate an image: " in front, for clips too."""


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """Settings of one denoising run.

    Args:
        num_inference_steps: 1 to 1000.
        shift: Moves the schedule toward noise, above 0; None derives it from the token count as in training.
        guidance_scale: Text guidance, 0 to 30.
        visual_guidance_scale: Visual guidance, 0 to 30; only used with a source or references.
        solver: Name of a solver in `sampling/solvers.py`.
        shortcuts: What is left out, at a loss; nothing by default.
    """

    num_inference_steps: int = 50
    shift: float | None = 5.0
    guidance_scale: float = 5.0
    visual_guidance_scale: float = 1.5
    solver: str = "unipc"
    shortcuts: Shortcuts = field(default_factory=Shortcuts)

    def __post_init__(self) -> None:
        """Refuse settings out of range.

        Raises:
            ConfigError: See the ranges above.
        """
        if not 1 <= self.num_inference_steps <= MAX_STEPS:
            raise ConfigError(
                f"{self.num_inference_steps} steps", expected=f"1 to {MAX_STEPS}", fix="50 is the usual count"
            )
        for name in ("guidance_scale", "visual_guidance_scale"):
            value = getattr(self, name)
            if not (math.isfinite(value) and 0 <= value <= MAX_GUIDANCE):
                raise ConfigError(
                    f"{name} {value}", expected=f"0 to {MAX_GUIDANCE:g}", fix="leave it out for the task's default"
                )
        if self.shift is not None and not (math.isfinite(self.shift) and self.shift > 0):
            raise ConfigError(
                f"shift {self.shift}",
                expected="a number above 0 (--shift 0 takes it from the size)",
                fix="leave it out for the default, 5.0",
            )


GUIDANCE_OF_EDITS = 2.5
GUIDANCE_OF_GENERATION = 5.0

EDIT_TASKS = frozenset({Task.EDIT_VIDEO, Task.EDIT_IMAGE, Task.REFERENCE_EDIT})
"""Tasks that need a source."""
REFERENCE_TASKS = frozenset({Task.REFERENCE_EDIT, Task.REFERENCE_TO_VIDEO, Task.REFERENCE_TO_IMAGE})
"""Tasks that need at least one reference."""
IMAGE_TASKS = frozenset({Task.TEXT_TO_IMAGE, Task.EDIT_IMAGE, Task.REFERENCE_TO_IMAGE})
"""Tasks that make one frame."""


def default_guidance_scale(task: Task) -> float:
    """Text guidance a task is run with unless told otherwise. Source: official `configs/inference/generation.yaml`."""
    return GUIDANCE_OF_EDITS if task in EDIT_TASKS else GUIDANCE_OF_GENERATION
