"""Processes that meet, add up, and say so when one of them is gone."""

from __future__ import annotations

import os
import signal
import time

import pytest
import torch

from loom_core.distributed.group import is_of_group, joined
from loom_core.distributed.launch import Launch
from loom_core.errors import RankError, WeightsError


def adding_up(ranks):
    summed = ranks.sum(torch.tensor([1.0, ranks.rank], dtype=torch.float64))
    order: list[int] = []

    def make():
        order.append(ranks.rank)
        time.sleep(0.2 * (1 - ranks.rank))
        return time.monotonic()

    return summed, ranks.gather({"rank": ranks.rank}), ranks.in_turn(make), ranks.size


def test_numbers_and_values_of_all_ranks_reach_each(processes):
    first, second = processes.in_ranks(adding_up)
    for summed, values, _, size in (first, second):
        assert summed.tolist() == [2.0, 1.0]
        assert values == [{"rank": 0}, {"rank": 1}]
        assert size == 2
    assert first[2] < second[2], "the first one's turn is over when the second one's begins"


def waiting(ranks, how):
    if ranks.rank == 1:
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise WeightsError("a file that is gone")
    ranks.gather(None)


@pytest.mark.parametrize(
    ("how", "words"),
    [("killed", "rank 1 that gave no sign of life"), ("error", "rank 1 that ended: found a file that is gone")],
)
def test_a_rank_that_ends_is_named_by_those_that_wait_for_it(processes, how, words):
    begin = time.monotonic()
    with processes.started(waiting, how) as ((_, first), (_, second)):
        is_well, (kind, said, _) = processes.outcome(first)
        own = processes.outcome(second)[1]
    assert not is_well
    assert kind == "RankError"
    assert words in said
    assert "give the same command again" in said
    assert time.monotonic() - begin < 60
    assert own[0] == ("EOFError" if how == "killed" else "WeightsError"), "it says its own error itself"


def test_no_group_is_left_after_an_error(processes, monkeypatch):
    for name, value in processes.environment_of(0, 1, processes.free_port()).items():
        monkeypatch.setenv(name, value)
    group = joined(Launch(0, 1, 0), torch.device("cpu"))
    with pytest.raises(WeightsError, match="a file that is gone"), group as ranks:
        assert ranks.gather("here") == ["here"]
        raise WeightsError("a file that is gone")
    assert not torch.distributed.is_initialized()


def test_others_that_cannot_be_reached_are_one_sentence(monkeypatch):
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "no port")
    met = joined(Launch(1, 2, 1), torch.device("cpu"))
    with pytest.raises(RankError, match=r"2 processes that cannot meet at 127\.0\.0\.1:no port"), met:
        pytest.fail("met")


def test_errors_of_the_group_are_told_from_others():
    assert is_of_group(RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer"))
    assert is_of_group(torch.distributed.DistNetworkError("broken pipe"))
    assert not is_of_group(RuntimeError("ProcessGroupGloo::allgather: invalid tensor size"))
    assert not is_of_group(WeightsError("gloo.safetensors"))
