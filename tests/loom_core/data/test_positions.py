"""Going on with another number of ranks: no sample twice, none left out."""

from __future__ import annotations

import itertools

import pytest

from loom_core.data.positions import merged, position_for


def guard(**changes):
    return {"seen": {}, "lost": {}, "known": {}, "counts": {}, "examples": {}, **changes}


def state(number, rank, size, **changes):
    return {
        "next": number,
        "rank": rank,
        "world_size": size,
        "seed": 0,
        "fingerprint": "x",
        "guard": guard(),
        **changes,
    }


def test_the_same_number_of_ranks_goes_on_where_each_stood():
    states = {str(rank): state(rank, rank, 12) for rank in range(12)}
    assert position_for(states, rank=10, world_size=12) == state(10, 10, 12)
    assert position_for({}, rank=0, world_size=2) is None


def test_what_quicker_ranks_had_taken_is_named():
    """Rank 0 took 0, 3, 6, rank 1 took 1, rank 2 took 2 and 5: the first that nobody took is 4."""
    whole = merged([state(3, 0, 3), state(1, 1, 3), state(2, 2, 3)])
    assert (whole["next"], whole["rank"], whole["world_size"]) == (4, 0, 1)
    assert whole["done"] == [5, 6]
    again = merged([state(2, 0, 2, done=[6]), state(4, 1, 2, done=[5, 9])])
    assert (again["next"], again["done"]) == (4, [5, 6, 7, 9])
    assert "done" not in merged([state(2, 0, 2), state(2, 1, 2, done=[1])])


def test_counts_are_added_up_and_belong_to_one_rank():
    of_first = guard(seen={"a": 3}, lost={"a": 1}, known={"a": [4]}, counts={"broken": 1}, examples={"broken": ["a/4"]})
    of_second = guard(
        seen={"a": 2, "b": 1}, lost={"a": 1}, known={"a": [2]}, counts={"broken": 1}, examples={"broken": ["a/2"]}
    )
    states = {"0": state(2, 0, 2, guard=of_first), "1": state(2, 1, 2, guard=of_second)}
    first = position_for(states, rank=0, world_size=3)["guard"]
    assert first["seen"] == {"a": 5, "b": 1}
    assert first["lost"] == {"a": 2}
    assert first["known"] == {"a": [2, 4]}
    assert first["counts"] == {"broken": 2}
    assert first["examples"] == {"broken": ["a/4", "a/2"]}
    assert position_for(states, rank=1, world_size=3)["guard"] == guard(known={"a": [2, 4]})


def taken(streams, counts):
    return [
        item.place.position
        for ours, count in zip(streams, counts, strict=True)
        for item in itertools.islice(ours, count)
    ]


@pytest.mark.parametrize(("before", "after"), [((5, 2), 1), ((3,), 2), ((4, 1, 2), 2), ((2, 2), 3)])
def test_no_sample_comes_twice_and_none_is_left_out(stream, memory_source, before, after):
    sources = [memory_source(100)]
    streams = [stream(sources, rank=rank, world_size=len(before)) for rank in range(len(before))]
    first = taken(streams, before)
    states = {str(rank): ours.state() for rank, ours in enumerate(streams)}
    later = [
        stream(sources, rank=rank, world_size=after, state=position_for(states, rank=rank, world_size=after))
        for rank in range(after)
    ]
    second = taken(later, [6] * after)
    once_more = {str(rank): ours.state() for rank, ours in enumerate(later)}
    (last,) = [stream(sources, state=position_for(once_more, rank=0, world_size=1))]
    third = taken([last], [20])
    everything = first + second + third
    assert len(set(everything)) == len(everything)
    assert set(range(max(first + second))) <= set(everything)
