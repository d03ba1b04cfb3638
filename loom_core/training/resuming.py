"""Whether a run goes on, and from which checkpoint."""

from __future__ import annotations

from pathlib import Path

from ..config.training import TrainingConfig, changed_settings
from ..errors import ConfigError, WeightsError
from ..weights.layouts import step_folders
from .checkpoint import STATE_FILE, RunState, newest_checkpoint
from .placing import restore_replaced

AUTO, NEVER = "auto", "never"


def find_resume(run: Path, resume: str | Path = AUTO) -> Path | None:
    """The checkpoint that a run goes on from; None for one that begins.

    Args:
        run: The run's folder.
        resume: "auto" takes the newest complete checkpoint there, "never" wants there to be none; else a checkpoint
            or the folder of a run.

    Raises:
        ConfigError: There are checkpoints that a new run, or one that goes on from an older place, would mix with.
        OutputError: A checkpoint is to be put back that a killed process was replacing, and another one trains there.
        WeightsError: The path is no checkpoint.
    """
    restore_replaced(run)
    if str(resume) == AUTO:
        return newest_checkpoint(run)
    there = step_folders(run)
    if str(resume) == NEVER:
        if there:
            raise ConfigError(
                f"{len(there)} checkpoints in {run}", expected="none, with --resume never", fix="give another --run"
            )
        return None
    path = Path(resume)
    checkpoint = path if (path / STATE_FILE).is_file() else newest_checkpoint(path)
    if checkpoint is None:
        raise WeightsError(
            f"no checkpoint at {path}", expected=f"a folder with {STATE_FILE}, or one of a run", fix="check the path"
        )
    own = {folder.resolve(): step for step, folder in there.items()}
    chosen = own.get(checkpoint.resolve())
    newer = [step for step in there if chosen is None or step > chosen]
    if newer:
        raise ConfigError(
            f"{len(newer)} newer checkpoints in {run} (the first is {there[newer[0]].name})",
            expected="none that would be mixed with those of the run that goes on",
            fix="remove them, or give another --run",
        )
    return checkpoint


def changes_in_words(state: RunState, config: TrainingConfig) -> str:
    """Settings with which a config would train something else than a checkpoint, as they were and are; or nothing."""
    changed = changed_settings(state.settings, config)
    return "; ".join(f"{name} was {before!r} and is {now!r}" for name, (before, now) in changed.items())


def check_unchanged(state: RunState, config: TrainingConfig, *, checkpoint: Path) -> None:
    """Refuse to go on with a config that would train something else.

    Args:
        state: Of the checkpoint.
        config: Of the run that goes on.
        checkpoint: For the message.

    Raises:
        ConfigError: It differs; every setting is named.
    """
    if named := changes_in_words(state, config):
        raise ConfigError(
            f"another config than {checkpoint} was saved with: {named}",
            expected="the same settings",
            fix="restore them, give another --run, or accept the change with --allow-config-change",
        )
