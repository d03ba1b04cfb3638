"""Where a run goes on, and when it must not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loom_core.config.reading import flatten
from loom_core.errors import ConfigError, WeightsError
from loom_core.training.checkpoint import RunState
from loom_core.training.resuming import check_unchanged, find_resume


@pytest.fixture
def run(tmp_path):
    return with_checkpoints(tmp_path / "run", 2, 4, 6)


def with_checkpoints(run, *steps):
    for step in steps:
        folder = run / "checkpoints" / f"step-{step:06d}"
        folder.mkdir(parents=True)
        (folder / "state.json").write_text("{}")
    return run


def test_the_newest_is_taken_by_itself(run, tmp_path):
    assert find_resume(run).name == "step-000006"
    assert find_resume(tmp_path / "new") is None


def test_never_wants_an_unused_folder(run, tmp_path):
    assert find_resume(tmp_path / "new", "never") is None
    with pytest.raises(ConfigError, match="3 checkpoints in"):
        find_resume(run, "never")


def test_a_path_is_a_checkpoint_or_a_run(run, tmp_path):
    newest = run / "checkpoints" / "step-000006"
    assert find_resume(run, newest) == newest
    assert find_resume(run, run) == newest
    assert find_resume(tmp_path / "new", run / "checkpoints" / "step-000004").name == "step-000004"
    with pytest.raises(WeightsError, match="no checkpoint at"):
        find_resume(run, tmp_path / "nowhere")


def test_an_older_place_of_the_same_run_is_refused_while_newer_ones_are_there(run):
    with pytest.raises(ConfigError, match=r"1 newer checkpoints.*step-000006.*another --run"):
        find_resume(run, run / "checkpoints" / "step-000004")


def test_another_runs_checkpoint_does_not_go_into_a_used_folder(run, tmp_path):
    other = with_checkpoints(tmp_path / "other", 9)
    with pytest.raises(ConfigError, match="3 newer checkpoints"):
        find_resume(run, other)


def test_changed_settings_are_named_all(config, tmp_path):
    state = RunState(settings=flatten(config))
    check_unchanged(state, config, checkpoint=tmp_path)
    other = replace(config, seed=3, data=replace(config.data, dropout_all=0.5))
    with pytest.raises(ConfigError, match=r"data.dropout_all was 0.0 and is 0.5; seed was 0 and is 3.*--allow-config"):
        check_unchanged(state, other, checkpoint=tmp_path)
