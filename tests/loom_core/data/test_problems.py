"""Counting what cannot be used: by kind, with examples, and an end to it."""

from __future__ import annotations

import json

import pytest

from loom_core.data.problems import (
    EXAMPLES,
    BadSample,
    BadSampleGuard,
    BadSamplesError,
    Problems,
    bad_samples,
    kind_of,
)
from loom_core.data.sample import SampleError
from loom_core.errors import MediaError


def test_kinds():
    assert kind_of("unreadable: found a.mp4: broken") == "unreadable"
    assert kind_of("missing caption") == "missing caption"


def test_counts_and_examples():
    problems = Problems()
    assert problems.add("a", "unreadable: x")
    assert [problems.add(str(number), "missing caption") for number in range(EXAMPLES + 3)] == [True] + [False] * 7
    assert problems.total == EXAMPLES + 4
    assert problems.summary() == "8 x missing caption: 0, 1, 2, 3, 4; 1 x unreadable: a (unreadable: x)"


def bad(guard, key="a", reason="unreadable: x", set_name="cats"):
    guard.bad(set_name, ord(key[0]), SampleError(key, reason))


def test_the_guard_waits_for_enough_and_judges_the_share():
    guard = BadSampleGuard(max_share=0.1, min_bad=3)
    for key in "ab":
        bad(guard, key)  # all bad, but too few to tell
    for _ in range(27):
        guard.good("cats")
    bad(guard, "c")  # 3 of 30: just within
    with pytest.raises(MediaError, match=r"4 of 31 samples of cats that cannot be used \(4 x unreadable: cats: a"):
        bad(guard, "d")


def test_one_broken_set_among_many_is_enough():
    guard = BadSampleGuard(max_share=0.1, min_bad=3)
    for _ in range(1000):
        guard.good("cats")
    bad(guard, set_name="dogs")
    bad(guard, set_name="dogs")
    with pytest.raises(MediaError, match="3 of 3 samples of dogs"):
        bad(guard, set_name="dogs")


def test_few_of_each_of_many_sets_are_many():
    guard = BadSampleGuard(max_share=0.1, min_bad=4)
    for number in range(3):
        bad(guard, set_name=f"{number}")
    with pytest.raises(MediaError, match=r"4 of 4 samples that"):
        bad(guard, set_name="3")


def test_a_sample_that_comes_again_is_judged_again_but_told_and_counted_once():
    guard = BadSampleGuard(max_share=0.1, min_bad=4)
    bad(guard)
    bad(guard)
    assert guard.take_new() == (BadSample("cats", "a", "unreadable: x"),)
    bad(guard)
    assert guard.take_new() == ()
    assert guard.problems.counts == {"unreadable": 1}
    assert bad_samples({"guard": guard.state()}) == 1
    with pytest.raises(
        BadSamplesError, match=r"4 of 4 samples of cats .*, 2 different ones that came again \(2 x"
    ) as end:
        bad(guard, "b")
    assert end.value.left_out == (BadSample("cats", "b", "unreadable: x"),)


def test_samples_of_equal_number_are_told_apart_by_their_set():
    guard = BadSampleGuard(max_share=0.5, min_bad=100)
    bad(guard, set_name="cats")
    bad(guard, set_name="dogs")
    assert [sample.set_name for sample in guard.take_new()] == ["cats", "dogs"]


def test_only_the_first_of_a_kind_is_logged(caplog):
    guard = BadSampleGuard(max_share=0.5, min_bad=100)
    for number in range(5):
        bad(guard, f"{number}")
    bad(guard, "9", "missing caption")
    assert [message.split(";")[0] for message in caplog.messages] == [
        "a sample of cats was left out: 0: unreadable: x",
        "a sample of cats was left out: 9: missing caption",
    ]


def test_a_sample_can_be_taken_back():
    guard = BadSampleGuard(max_share=0.5, min_bad=100)
    guard.good("cats")
    guard.take_back("cats")
    assert guard.num_seen == 0


def test_state_goes_through_json():
    guard = BadSampleGuard(max_share=0.5, min_bad=100)
    guard.good("cats")
    bad(guard)
    other = BadSampleGuard(max_share=0.5, min_bad=100)
    other.load(json.loads(json.dumps(guard.state())))
    assert other.state() == guard.state()
    bad(other, "a")
    assert other.take_new() == (), "it was told before"
    bad(other, "b")
    assert len(other.take_new()) == 1
    other.good("dogs")
    assert guard.problems.counts == {"unreadable": 1}
    assert guard.problems.examples == {"unreadable": ["cats: a (unreadable: x)"]}
    assert guard.seen == {"cats": 2}
    assert guard.lost == {"cats": 1}
