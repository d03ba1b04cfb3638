"""What a run will do, checked before anything large is read or anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..config.training import TrainingConfig
from ..data.opening import open_sources
from ..data.sample import SampleSource
from .checkpoint import RunState, read_state
from .disk import DiskNeeds, disk_needs
from .frozen import FrozenFiles
from .held_out import open_held_out
from .optimiser import check_possible
from .resuming import AUTO, check_unchanged, find_resume
from .starting import Start, check_start


@dataclass(frozen=True)
class RunPlan:
    """What a run will do, known from headers alone.

    Args:
        config: Of the run.
        files: Of the frozen parts.
        checkpoint: That it goes on from; None for a run that begins.
        state: Where it stands.
        start: What it begins with; None for a run that goes on.
        sources: The sets that it is trained on.
        disk: What it writes, and what is free; whether that is too little is for the caller to ask.
        held_out: The sets that it is measured on.
        allow_config_change: Go on with other settings than the checkpoint was saved with.
    """

    config: TrainingConfig
    files: FrozenFiles
    checkpoint: Path | None
    state: RunState
    start: Start | None
    sources: tuple[SampleSource, ...]
    disk: DiskNeeds
    held_out: tuple[SampleSource, ...] = ()
    allow_config_change: bool = False


def plan_run(config: TrainingConfig, *, resume: str | Path = AUTO, allow_config_change: bool = False) -> RunPlan:
    """Look at everything that a run needs, before anything large is read or written.

    All that it writes is the name of a checkpoint that a killed process was replacing; see `restore_replaced`.

    Args:
        config: Of the run.
        resume: See `resuming.find_resume`.
        allow_config_change: Go on with other settings than the checkpoint was saved with.

    Raises:
        ConfigError: The checkpoint was saved with other settings; parts do not fit each other; this torch lacks the
            optimiser.
        WeightsError: Starting weights, checkpoint, MLLM or codec are missing or of another model.
        MediaError: A set is missing, empty, or not of the task that the config says.
    """
    check_possible(config.optimiser)
    checkpoint = find_resume(config.run, resume)
    state = RunState() if checkpoint is None else read_state(checkpoint)
    if checkpoint is not None and not allow_config_change:
        check_unchanged(state, config, checkpoint=checkpoint)
    # the frozen weights of a LoRA are in none of its checkpoints
    start = check_start(config) if checkpoint is None or config.lora is not None else None
    files = FrozenFiles.of(config)
    files.check(config)
    sources = tuple(open_sources(config.data))
    return RunPlan(
        config=config,
        files=files,
        checkpoint=checkpoint,
        state=state,
        start=start if checkpoint is None else None,
        sources=sources,
        disk=disk_needs(config, done=state.step, lengths=list(map(len, sources))),
        held_out=open_held_out(config),
        allow_config_change=allow_config_change,
    )
