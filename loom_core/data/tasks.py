"""The tasks of training, as one table: which parts a prompt has and in which order, and what a sample needs.

The inference tasks are taken from `mllm.prompts`, in training order; reconstruction is training's own.

Source: official `src/dataset/processors.py` (prefixes and orders).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..config.reading import unknown_name
from ..config.sampling import IMAGE_TASKS
from ..mllm.prompts import TASKS, Part
from ..types import Task

AUTO = "auto"
"""In place of a task: the one that a folder's layout, or each row of its manifest, is made for."""


@dataclass(frozen=True)
class TrainingTask:
    """How a sample of one task is read.

    Args:
        name: In configs, manifests and metrics.
        prefix: Text that tells the model the task.
        order: Order of the prompt's parts in training.
        is_image: Whether the target is one frame.
        needs_source: Whether there is a source; of a reconstruction it is the target itself.
        needs_references: Whether at least one reference is given.
        inference_task: The task that a user asks for to get the same; None for reconstruction.
    """

    name: str
    prefix: str
    order: tuple[Part, ...]
    is_image: bool
    needs_source: bool
    needs_references: bool
    inference_task: Task | None

    @property
    def inference_order(self) -> tuple[Part, ...]:
        """Order of the prompt's parts at inference."""
        if self.inference_task is None:
            return (Part.SOURCE, Part.PREFIX)
        return TASKS[self.inference_task].inference_order

    @property
    def is_reconstruction(self) -> bool:
        """Whether source and target are the same pictures."""
        return self.inference_task is None


def _reconstruction(name: str, prefix: str, *, is_image: bool) -> TrainingTask:
    # The official prefixes are known, whether the DiT gets the source's latents is not; ours does, as in an edit.
    return TrainingTask(
        name,
        prefix,
        (Part.PREFIX, Part.SOURCE),
        is_image,
        needs_source=True,
        needs_references=False,
        inference_task=None,
    )


def _of_inference(task: Task) -> TrainingTask:
    prompt = TASKS[task]
    return TrainingTask(
        task.value,
        prompt.prefix,
        prompt.training_order,
        is_image=task in IMAGE_TASKS,
        needs_source=prompt.needs_source,
        needs_references=prompt.needs_references,
        inference_task=task,
    )


TRAINING_TASKS: Mapping[str, TrainingTask] = MappingProxyType(
    {task.value: _of_inference(task) for task in Task}
    | {
        "reconstruct-image": _reconstruction("reconstruct-image", "Reconstruct this image: ", is_image=True),
        "reconstruct-video": _reconstruction("reconstruct-video", "Reconstruct this video: ", is_image=False),
    }
)
"""Every task by name."""


def training_task(name: str) -> TrainingTask:
    """The task of a name.

    Raises:
        ConfigError: There is none; the message offers the nearest.
    """
    if name in TRAINING_TASKS:
        return TRAINING_TASKS[name]
    raise unknown_name(name, name, TRAINING_TASKS, kind="training task")
