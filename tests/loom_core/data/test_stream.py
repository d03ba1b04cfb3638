"""The order of samples: exact, without doubles, whoever decodes; resumed where it stood."""

from __future__ import annotations

import collections
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from loom_core.data.cache import LatentCache
from loom_core.data.problems import BadSampleGuard
from loom_core.errors import ConfigError, MediaError, ResourceError


def keys(stream, count):
    return [item.sample.key for item in itertools.islice(stream, count)]


class SlowForSome:
    """A source whose even samples take longer, so that workers finish out of order."""

    def __init__(self, source):
        self.name, self.fingerprint, self._source = source.name, source.fingerprint, source

    def __len__(self):
        return len(self._source)

    def load(self, index, *, generator):
        if index % 2 == 0:
            time.sleep(0.02)
        return self._source.load(index, generator=generator)


class EndsItself:
    """A source whose decoder dies, as one that the system ends for its memory."""

    name, fingerprint = "ends", "ends"

    def __len__(self):
        return 3

    def load(self, index, *, generator):
        os.kill(os.getpid(), signal.SIGKILL)


def test_fault_3_no_sample_twice_in_an_epoch_over_ranks_and_workers(stream, memory_source):
    """The official trainer splits by rank alone, so the workers of a rank decode the same samples."""
    seen = collections.Counter()
    for rank in range(2):
        ours = stream([memory_source(12)], rank=rank, world_size=2, workers=2)
        seen.update(keys(ours, 6))
        ours.close()
    assert seen == {f"memory/{index}": 1 for index in range(12)}


def test_order_does_not_depend_on_workers(stream, memory_source):
    source = memory_source(20)
    alone = keys(stream([source]), 20)
    workers = stream([SlowForSome(source)], workers=2)
    assert keys(workers, 20) == alone
    workers.close()


def test_seeds_follow_from_the_position_and_differ_between_ranks(stream, memory_source):
    first = [item.sample.seed for item in itertools.islice(stream([memory_source(3)], rank=0, world_size=2), 20)]
    second = [item.sample.seed for item in itertools.islice(stream([memory_source(3)], rank=1, world_size=2), 20)]
    alone = [item.sample.seed for item in itertools.islice(stream([memory_source(3)]), 40)]
    assert len(set(first + second)) == 40
    assert alone[::2] == first
    assert alone[1::2] == second


def test_bad_samples_leave_the_others_in_place(stream, memory_source):
    whole = keys(stream([memory_source(10)]), 10)
    ours = stream([memory_source(10, broken=[2, 5])])
    assert keys(ours, 8) == [key for key in whole if key not in ("memory/2", "memory/5")]
    next(ours)
    assert ours.guard.problems.counts == {"unreadable": 2}
    assert sorted(ours.guard.problems.examples["unreadable"]) == [
        "memory: memory/2 (unreadable: made so)",
        "memory: memory/5 (unreadable: made so)",
    ]


@pytest.mark.parametrize("workers", [0, 2])
def test_fault_9_the_run_stops_when_too_many_are_bad(stream, memory_source, workers):
    """The official trainer prints and goes on: a broken folder looks like a hang."""
    ours = stream(
        [memory_source(10, broken=range(10))], guard=BadSampleGuard(max_share=0.05, min_bad=7), workers=workers
    )
    with pytest.raises(
        MediaError, match=r"7 of 7 samples of memory.*7 x unreadable: memory: memory/\d.*at most 5.0%"
    ) as caught:
        next(ours)
    assert "max_bad_share" in str(caught.value)
    ours.close()


def test_a_resumed_stream_goes_on_exactly(stream, memory_source):
    sources = [memory_source(7, broken=[3]), memory_source(5, name="other")]
    whole = stream(sources, weights=[2, 1])
    everything = [(item.sample.key, item.sample.seed) for item in itertools.islice(whole, 30)]
    ours = stream(sources, weights=[2, 1])
    before = [(item.sample.key, item.sample.seed) for item in itertools.islice(ours, 11)]
    resumed = stream(sources, weights=[2, 1], state=ours.state(), workers=2)
    after = [(item.sample.key, item.sample.seed) for item in itertools.islice(resumed, 19)]
    resumed.close()
    assert before + after == everything
    assert resumed.state() == whole.state()


def test_a_state_of_an_earlier_version_goes_on(stream, memory_source, caplog):
    """As such a version wrote it: another fingerprint or another order would lose everybody's running training."""
    state = {
        "next": 2,
        "rank": 0,
        "world_size": 1,
        "seed": 3,
        "fingerprint": "7736925604735627308",
        "guard": {"seen": {"memory": 1, "other": 1}, "lost": {}, "known": {}, "counts": {}, "examples": {}},
    }
    sources = [memory_source(7), memory_source(5, name="other")]
    ours = stream(sources, weights=[2, 1], seed=3, clip_variants=4, state=state)
    assert keys(ours, 4) == ["other/2", "other/1", "memory/0", "memory/6"]
    first = next(stream(sources, weights=[2, 1], seed=3))
    assert first.sample.seed == 8661004777042205675
    assert not caplog.messages


def test_a_state_before_the_last_sample_gives_it_again(stream, memory_source):
    ours = stream([memory_source(9)])
    items = list(itertools.islice(ours, 4))
    resumed = stream([memory_source(9)], state=ours.state(before=items[-1]))
    assert next(resumed).sample.key == items[-1].sample.key
    assert resumed.state() == ours.state()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, "seed"),
        ({"weights": [1, 3]}, "weights"),
        ({"clip_variants": 3}, "sets"),
    ],
)
def test_a_state_of_other_data_is_refused(stream, memory_source, change, named):
    sources = [memory_source(4), memory_source(4, name="other")]
    state = stream(sources).state()
    with pytest.raises(ConfigError, match=named):
        stream(sources, state=state, **change)


def test_a_state_of_one_of_several_ranks_is_not_enough_for_another_number(stream, memory_source, caplog):
    """It does not say what the others had taken; see `positions.py` for what does."""
    ours = stream([memory_source(100)], rank=1, world_size=4)
    keys(ours, 10)
    with pytest.raises(ConfigError, match="number of ranks"):
        stream([memory_source(100)], rank=1, world_size=2, state=ours.state())
    other = stream([memory_source(100)], rank=1, world_size=2, state=ours.state(), strict=False)
    assert next(other).place.position == 10 * 4 + 1
    assert "number of ranks differed" in caplog.text


def test_several_ranks_go_on_where_a_single_one_stood(stream, memory_source):
    alone = stream([memory_source(100)])
    keys(alone, 5)
    for rank, expected in ((0, [6, 8]), (1, [5, 7])):
        other = stream([memory_source(100)], rank=rank, world_size=2, state=alone.state())
        assert [next(other).place.position for _ in range(2)] == expected


def test_places_that_are_done_are_left_out_and_forgotten_once_passed(stream, memory_source):
    state = {**stream([memory_source(100)]).state(), "next": 2, "done": [3, 5]}
    ours = stream([memory_source(100)], state=state)
    assert [next(ours).place.position for _ in range(2)] == [2, 4]
    assert ours.state()["done"] == [5]
    assert next(ours).place.position == 6
    assert "done" not in ours.state()


def test_what_was_known_to_be_bad_is_that_of_the_same_samples_alone(stream, memory_source):
    ours = stream([memory_source(4, broken=[2])])
    keys(ours, 6)
    assert stream([memory_source(4)], state=ours.state()).guard.known == {"memory": {2}}
    other = stream([memory_source(5)], state=ours.state(), strict=False)
    assert other.guard.known == {}
    assert other.guard.problems.total == 1, "it was met, in this run"


class NotesStarts:
    """A source of two samples whose key tells where a clip would be cut."""

    name, fingerprint = "starts", "starts"

    def __init__(self, source):
        self._source = source

    def __len__(self):
        return 2

    def describe(self, index):
        return self._source.describe(index)

    def load(self, index, *, generator):
        start = int(1e9 * torch.rand((), generator=generator, dtype=torch.float64))
        return replace(self._source.load(index, generator=generator), key=f"{index}/{start}")


def test_without_a_cache_every_epoch_has_its_own_starts(stream, memory_source, tmp_path):
    """As the official trainer, which draws one each time; a cache can keep only a few."""
    source = NotesStarts(memory_source(2))
    fresh = keys(stream([source], clip_variants=3), 40)
    assert len(set(fresh)) == 40
    cached = keys(stream([source], clip_variants=3, cache=LatentCache(tmp_path / "cache", identity="a")), 40)
    assert len(set(cached)) == 2 * 3
    first = stream([source])
    before = keys(first, 7)
    resumed = stream([source], state=first.state(), workers=2)
    assert before + keys(resumed, 33) == fresh
    resumed.close()


def test_adding_a_cache_is_said_to_change_the_starts(stream, memory_source, tmp_path, caplog):
    sources = [memory_source(3)]
    state = stream(sources).state()
    cache = LatentCache(tmp_path / "cache", identity="a")
    stream(sources, state={name: value for name, value in state.items() if name != "has_fresh_starts"}, cache=cache)
    stream(sources, state=state)
    assert not caplog.messages  # an older state does not tell
    stream(sources, state=state, cache=cache)
    (message,) = caplog.messages
    assert "other starts" in message


def test_a_cached_sample_is_not_decoded(stream, memory_source, tmp_path):
    log = tmp_path / "decoded"
    sources = [memory_source(6, log=log, references=1)]
    first = stream(sources, cache=LatentCache(tmp_path / "cache", identity="a"))
    once = list(itertools.islice(first, 6))
    assert len(log.read_text().splitlines()) == 6
    cache = LatentCache(tmp_path / "cache", identity="a")
    second = stream(sources, cache=cache, workers=2)
    again = list(itertools.islice(second, 6))
    second.close()
    assert len(log.read_text().splitlines()) == 6
    for before, after in zip(once, again, strict=True):
        assert before.sample.key == after.sample.key
        assert before.sample.seed == after.sample.seed
        assert torch.equal(before.sample.target, after.sample.target)
    stream(sources, cache=LatentCache(tmp_path / "cache", identity="b")).__next__()
    assert len(log.read_text().splitlines()) == 7


def test_a_damaged_entry_is_decoded_again(stream, memory_source, tmp_path):
    log = tmp_path / "decoded"
    cache = LatentCache(tmp_path / "cache", identity="a")
    before = next(stream([memory_source(1, log=log)], cache=cache))
    (entry,) = (tmp_path / "cache").rglob("*.safetensors")
    entry.write_bytes(entry.read_bytes()[:-3])
    again = next(stream([memory_source(1, log=log)], cache=cache))
    assert torch.equal(again.sample.target, before.sample.target)
    assert (cache.damaged, len(log.read_text().splitlines())) == (1, 2)
    next(stream([memory_source(1, log=log)], cache=cache))
    assert len(log.read_text().splitlines()) == 2  # it was stored anew


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_workers_outlast_what_asks_the_run_to_stop(stream, memory_source, number):
    """A scheduler signals every process of a job: the parent saves first, and ends them itself."""
    alone = keys(stream([memory_source(30)]), 30)
    ours = stream([memory_source(30)], workers=2)
    found = keys(ours, 1)  # the second may still be starting
    workers = multiprocessing.active_children()
    assert len(workers) == 2
    for worker in workers:
        os.kill(worker.pid, number)
    found += keys(ours, 29)
    assert found == alone
    assert all(worker.is_alive() for worker in workers)
    ours.close()
    for worker in workers:
        worker.join(timeout=20)
    assert not any(worker.is_alive() for worker in workers)


_PARENT = """
import itertools, multiprocessing, os, sys
sys.path.insert(0, sys.argv[1])
from conftest import MemorySource, make_stream

stream = make_stream([MemorySource(30)], workers=1)
next(stream)
print(multiprocessing.active_children()[0].pid, flush=True)
os.kill(os.getpid(), 9)
"""


def test_workers_end_when_the_parent_was_killed():
    """They are deaf to SIGTERM, so they must see it for themselves."""
    here = Path(__file__).parent
    ran = subprocess.run(
        [sys.executable, "-c", _PARENT, str(here)], capture_output=True, text=True, cwd=here.parents[2], check=False
    )
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    worker = Path(f"/proc/{int(ran.stdout)}")
    for _ in range(200):
        if not worker.exists() or "Z" in (worker / "stat").read_text().split()[2]:
            return
        time.sleep(0.1)
    raise AssertionError(f"{worker} is still there")


def test_a_worker_that_is_ended_is_said_to_be(stream):
    ours = stream([EndsItself()], workers=1)
    with pytest.raises(ResourceError, match="fewer workers"):
        next(ours)
