"""A checkpoint takes its place at once, and one that was being replaced is put back."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from loom_core.errors import OutputError
from loom_core.training import placing as subject
from loom_core.training.checkpoint import newest_checkpoint, read_state, save_checkpoint
from loom_core.training.resuming import find_resume
from loom_core.weights.loading import load_dit


@pytest.fixture
def trained(config, make_trainer):
    """A run after three steps."""
    trainer = make_trainer(replace(config, steps=3))
    trainer.run()
    return trainer


@contextmanager
def while_another_trains():
    """As seen by this process; locks are no matter between the parts of one."""

    def taken(*_):
        raise BlockingIOError(errno.EAGAIN, "held")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("loom_core.training.run_lock.fcntl.lockf", taken)
        yield


def test_a_kill_while_the_same_step_is_replaced_loses_nothing(trained, config, monkeypatch):
    """Between the two renames neither is in its place."""
    rename = Path.rename

    def dying(path, target):
        if path.name.endswith(".partial"):
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", dying)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(config.run, trained.state, model=trained.model, optimiser=trained.optimiser)
    monkeypatch.undo()
    assert newest_checkpoint(config.run) is None
    with while_another_trains(), pytest.raises(OutputError, match="another process trains"):
        find_resume(config.run)
    assert newest_checkpoint(config.run) is None
    folder = find_resume(config.run)
    assert folder.name == "step-000003"
    assert read_state(folder).step == 3
    load_dit(folder)
    with while_another_trains():
        assert find_resume(config.run) == folder, "there is nothing to write"


def test_names_are_synced_before_and_after_they_are_put_in_place(trained, config, monkeypatch):
    synced = []
    monkeypatch.setattr(subject, "_sync_folder", lambda folder: synced.append((folder.name, folder.exists())))
    save_checkpoint(config.run, replace(trained.state, step=4), model=trained.model, optimiser=trained.optimiser)
    assert synced == [(".step-000004.partial", True), ("checkpoints", True)]
    monkeypatch.undo()
    subject._sync_folder(config.run / "nowhere")  # what cannot be opened is passed over
