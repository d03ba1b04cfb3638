"""A run inside the host: the host's models give way, the trainer works between two looks at the Cancel button."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from comfy import model_management
from torch import Tensor

from ....loom_core.config.training import TrainingConfig
from ....loom_core.errors import CancelledError, ConfigError, WeightsError
from ....loom_core.training.checkpoint import newest_checkpoint, read_state
from ....loom_core.training.planning import plan_run
from ....loom_core.training.resuming import changes_in_words
from ....loom_core.training.run import make_run_folder, open_trainer
from ....loom_core.training.watch.observer import Observers
from ....loom_core.training.watch.run_folder import watch_run
from ....loom_core.weights.layouts import OWN_LORA_EMA_FILE, find_weights
from ....loom_core.weights.reading import open_checkpoint
from ..memory import free_and_retry, free_everything
from ..progress import NodeProgress
from .pictures import as_images
from .watching import NodeWatch

_MEMORY_FIX = (
    "choose the recipe for 16 GB or a smaller rank, prepare the dataset with fewer frames or a lower resolution, and "
    "close what else uses the GPU; queued again, the run goes on from its last checkpoint"
)


class TrainedLora(dict[str, Tensor]):
    """A LoRA as the host's LORA_MODEL: tensors by name.

    Args:
        tensors: By the names that files have.
        metadata: Of a file: what it was trained on.
    """

    def __init__(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
        super().__init__(tensors)
        self.metadata = dict(metadata)


@dataclass(frozen=True)
class TrainedRun:
    """A run at its end.

    Args:
        lora: Averaged where the run has averages.
        picture: The loss curve with the last samples, float32 [1, height, width, 3] in [0, 1].
        about: What was done, in a line.
    """

    lora: TrainedLora
    picture: Tensor
    about: str


def train(config: TrainingConfig, *, progress: NodeProgress) -> TrainedRun:
    """Train a LoRA to its last step, from its newest checkpoint where it has one.

    Args:
        config: Of the run; it has a LoRA.
        progress: Shown how far it is.

    Raises:
        ConfigError: The run was begun with other settings, the disk has no room, or something does not fit.
        WeightsError: A file is missing, damaged or of another model.
        MediaError: The set is gone, or too much of it cannot be used.
        TrainingError: Too many steps in a row were not finite.
        ResourceError: Memory or disk ran out; the last checkpoint is whole.
        InterruptProcessingException: The host's own, once the step that was being done is saved.
    """
    watch = NodeWatch(config.run, progress)

    def attempt() -> None:
        # the host runs nodes in inference mode, in which nothing is learned
        with torch.inference_mode(False), torch.enable_grad():
            _run(config, watch)

    free_everything()
    free_and_retry(attempt, what=f"training {config.name}", fix=_MEMORY_FIX)
    watch.raise_if_cancelled()
    lora, about = _result(config.run)
    model_management.soft_empty_cache()
    return TrainedRun(lora, as_images(watch.picture()), about)


def _run(config: TrainingConfig, watch: NodeWatch) -> None:
    """Train until the last step or a cancel, which is left to the caller to tell of."""
    _check_same(config)
    plan = plan_run(config)
    plan.disk.check()
    make_run_folder(config.run)
    observer = Observers(watch_run(config.run), watch)
    try:
        trainer = open_trainer(
            plan, device=model_management.get_torch_device(), observer=observer, is_stopped=watch.is_cancelled
        )
    except CancelledError:
        observer.close()
        return
    except BaseException:
        observer.close()
        raise
    trainer.run(watch.is_cancelled)


def _check_same(config: TrainingConfig) -> None:
    """Refuse to go on with a run under other settings, in the words of a node.

    Raises:
        ConfigError: They are others; each is named.
    """
    checkpoint = newest_checkpoint(config.run)
    if checkpoint is not None and (named := changes_in_words(read_state(checkpoint), config)):
        raise ConfigError(
            f"a run {config.name!r} that was begun with other settings: {named}",
            expected="the same settings, to go on with it",
            fix=f"restore them, give another name, or delete {config.run}",
        )


def _result(run: Path) -> tuple[TrainedLora, str]:
    """The LoRA of a run's newest checkpoint, and a line about it."""
    folder = newest_checkpoint(run)
    if folder is None:
        raise WeightsError(f"no checkpoint in {run}", expected="that of the last step", fix="queue the run again")
    path = find_weights(folder)  # averaged ones before the others
    checkpoint = open_checkpoint(path)
    tensors = {name: checkpoint.tensor(name).clone() for name in checkpoint}
    state, which = read_state(folder), "averaged weights" if path.name == OWN_LORA_EMA_FILE else "weights"
    about = f"{state.step} steps, {state.samples} samples, {which} of {len(tensors)} tensors; the run is in {run}"
    return TrainedLora(tensors, checkpoint.metadata), about
