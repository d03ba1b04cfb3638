"""Signs of life, over a store in memory."""

from __future__ import annotations

import threading
import time

import pytest

from loom_core.distributed.watch import Watch


class Store:
    """A store that can go away."""

    def __init__(self):
        self.values: dict[str, bytes] = {}
        self.is_gone = False

    def set(self, key, value):
        if self.is_gone:
            raise RuntimeError("Connection reset by peer")
        self.values[key] = value.encode()

    def multi_get(self, keys):
        if self.is_gone:
            raise RuntimeError("Connection reset by peer")
        return [self.values[key] for key in keys]


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def make_watch(store):
    """Quick watches of a run of three, closed at the end, and what they end their process with."""
    made = []

    def make(rank, *, patience=0.6, grace=0.0):
        ended = []
        watch = Watch(store, rank=rank, size=3, end=ended.append, beat=0.05, patience=patience, grace=grace)
        made.append(watch)
        return watch, ended

    yield make
    store.is_gone = False
    for watch in made:
        if watch._thread.is_alive():
            watch.close()


def started(make_watch, **settings):
    watches = [make_watch(rank, **settings) for rank in range(3)]
    for watch, _ in watches:
        watch.start()
    return watches


def wait_for(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition()


def test_ranks_that_live_or_are_done_are_no_reason_to_end(make_watch):
    (first, ended), (second, _), (third, _) = started(make_watch, patience=2.0)
    third.close()
    time.sleep(3.0)
    assert ended == []
    for watch in (first, second):
        watch.close()


def test_a_rank_that_stands_still_ends_the_others(make_watch):
    watches = [make_watch(rank) for rank in range(3)]
    for watch, _ in watches[:2]:
        watch.start()
    wait_for(lambda: watches[0][1] and watches[1][1])
    assert watches[0][1] == ["rank 2 without a sign of life for 1 s"]
    assert watches[0][0].lost_within() == watches[0][1][0]


def test_last_words_are_passed_on(make_watch):
    (_, ended), (second, _), (_, of_third) = started(make_watch, patience=30.0)
    second.close(last_words="found no room")
    wait_for(lambda: ended and of_third)
    assert ended == of_third == ["rank 1 that ended: found no room"]


def test_the_main_thread_may_notice_first(make_watch):
    (first, ended), (second, _), _ = started(make_watch, patience=30.0, grace=20.0)
    second.close(last_words="found no room")
    assert first.lost_within(20.0) == "rank 1 that ended: found no room"
    first.close()
    assert ended == []


def test_what_is_not_known_yet_is_not_made_up(make_watch):
    watches = [make_watch(rank, patience=30.0) for rank in range(3)]
    watches[0][0].start()
    watches[1][0].start()
    assert watches[0][0].lost_within(0.0) == "a rank that did not answer"
    wait_for(lambda: watches[0][0].lost_within(0.0) == "rank 2 that gave no sign of life any more")


def test_a_store_that_is_gone_is_told(store, make_watch):
    (_, ended), *_ = started(make_watch, patience=30.0)
    store.is_gone = True
    wait_for(lambda: ended)
    assert ended == ["the process at which all ranks met that does not answer any more"]


def test_a_watch_ends_its_thread(make_watch):
    watch, _ = make_watch(0)
    for rank in (1, 2):
        make_watch(rank)
    watch.start()
    watch.close()
    assert watch._thread not in threading.enumerate()
