"""What Deepstack Encode is asked: the task that follows from what is connected, checked against all of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..loom_core.config.sampling import IMAGE_TASKS
from ..loom_core.errors import ConfigError
from ..loom_core.geometry import TEMPORAL_STRIDE, video_frames
from ..loom_core.mllm.prompts import check_request, infer_task, named_references, parse_task
from ..loom_core.types import Task
from .adapter.sampling.checks import VIDEO_DIMENSIONS
from .sockets import SourceClip

AUTO = "auto"
TASKS = (AUTO, *(task.value for task in Task))
"""Choices of the node; saved graphs name them."""
_UNKNOWN = TEMPORAL_STRIDE + 1  # any number that is not 1 means a video


@dataclass(frozen=True)
class Instruction:
    """What is done.

    Args:
        task: The task.
        notice: A sentence for the user; empty if all is as usual.
    """

    task: Task
    notice: str = ""


def read_instruction(
    choice: str,
    prompt: str,
    *,
    source: SourceClip | None,
    num_references: int,
    latent: Mapping[str, Any] | None,
) -> Instruction:
    """The task of a choice, checked against everything that is connected.

    Args:
        choice: One of `TASKS`.
        prompt: What the user wrote.
        source: What is edited.
        num_references: Number of references.
        latent: ComfyUI's LATENT that will be sampled into; its length tells an image from a video.

    Raises:
        ConfigError: The prompt is empty or mentions a reference that is not there, or the task does not fit what is
            connected.
    """
    if not prompt.strip():
        raise ConfigError("an empty prompt", expected="what to make, or what to change", fix="write it into the node")
    num_frames = _num_frames(latent)
    is_still = source is not None and (source.is_image or source.frames.shape[0] == 1)
    if choice == AUTO:
        task = infer_task(
            has_source=source is not None,
            source_is_image=is_still,
            num_references=num_references,
            num_frames=num_frames or _UNKNOWN,
        )
    else:
        task = parse_task(choice)
    unmentioned = check_request(
        task,
        prompt,
        num_references=num_references,
        has_source=source is not None,
        # a clip that was cut to one frame is still a clip to whoever names that task
        source_is_image=is_still and (task is not Task.EDIT_VIDEO or (source is not None and source.is_image)),
    )
    if task in IMAGE_TASKS and num_frames not in (None, 1):
        raise ConfigError(
            f"a latent of {num_frames} frames with task {task.value}",
            expected="1 frame",
            fix="set the length to 1, or choose another task",
        )
    return Instruction(task, _notice(unmentioned, num_references))


def _num_frames(latent: Mapping[str, Any] | None) -> int | None:
    """Frames of a latent; None if there is none, or if it is none of ours."""
    samples = None if latent is None else latent.get("samples")
    if samples is None or samples.is_nested:
        return None
    return video_frames(samples.shape[2]) if samples.ndim == VIDEO_DIMENSIONS else 1


def _notice(unmentioned: tuple[int, ...], num_references: int) -> str:
    names = named_references(unmentioned)
    if not unmentioned:
        return ""
    if len(unmentioned) == num_references:
        return f"the prompt mentions no reference ({names}); name each where it is meant"
    return f"never mentioned in the prompt: {names}"
