"""Packs made ahead by a second thread: the same ones, in order; errors and the end reach the one who asks."""

from __future__ import annotations

import sys
import threading
from itertools import count

import pytest

from loom_core.data.packing import Pack
from loom_core.errors import MediaError
from loom_core.training.read_ahead import ReadAhead


def packs(*, broken_at=None):
    for number in count():
        if number == broken_at:
            raise MediaError("too many bad samples")
        yield Pack((), tokens=number)


def test_packs_come_in_order_and_prepared_in_the_other_thread():
    threads = []
    ahead = ReadAhead(packs(), prepare=lambda _: threads.append(threading.current_thread()), depth=2)
    assert [next(ahead).tokens for _ in range(20)] == list(range(20))
    assert threading.main_thread() not in threads
    ahead.close()


def test_no_more_is_made_than_may_wait():
    made = []
    ahead = ReadAhead(packs(), prepare=made.append, depth=1)
    next(ahead)
    ahead.close()
    assert len(made) <= 3  # the one that was taken, the one that waits, the one in hand


def test_an_error_is_raised_where_the_pack_is_asked_for_and_stays():
    ahead = ReadAhead(packs(broken_at=2), prepare=lambda _: None)
    assert [next(ahead).tokens for _ in range(2)] == [0, 1]
    for _ in range(2):
        with pytest.raises(MediaError, match="too many"):
            next(ahead)
    ahead.close()


def test_closing_before_the_first_pack_starts_nothing():
    ahead = ReadAhead(packs(), prepare=lambda _: None)
    ahead.close()
    assert threading.active_count() == len(threading.enumerate())
    assert not [thread for thread in threading.enumerate() if thread.name == "read ahead"]


def test_the_source_is_closed_as_well():
    source = packs()
    ahead = ReadAhead(source, prepare=lambda _: None)
    next(ahead)
    ahead.close()
    with pytest.raises(StopIteration):
        next(source)


def test_threads_take_turns_quickly_until_it_is_closed():
    usual = sys.getswitchinterval()
    ahead = ReadAhead(packs(), prepare=lambda _: None)
    next(ahead)
    assert sys.getswitchinterval() < usual / 4
    ahead.close()
    assert sys.getswitchinterval() == pytest.approx(usual)
