"""What torchrun's variables say of a process."""

from __future__ import annotations

import pytest

from loom_core.distributed.launch import Launch, find_launch
from loom_core.errors import ConfigError


def test_a_process_that_nobody_launched_is_alone():
    launch = find_launch({})
    assert launch == Launch(0, 1, 0)
    assert launch.is_single
    assert launch.is_first


def test_torchruns_words_are_taken():
    launch = find_launch({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"})
    assert launch == Launch(5, 8, 1)
    assert not launch.is_single
    assert not launch.is_first
    assert find_launch({"RANK": "1", "WORLD_SIZE": "2"}).local_rank == 1


def test_the_processes_own_environment_is_read(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert find_launch().size == 2


@pytest.mark.parametrize(
    "changes", [{"RANK": "two"}, {"RANK": "2"}, {"RANK": "-1"}, {"WORLD_SIZE": "0"}, {"LOCAL_RANK": "-1"}]
)
def test_words_that_make_no_sense_are_refused(changes):
    with pytest.raises(ConfigError, match=r"WORLD_SIZE=.* in the environment"):
        find_launch({"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", **changes})
