"""How calls are made and numbers combined; never how long anything takes."""

from benchmarks.timing import median, ratio_spread, take_turns


def test_candidates_take_turns_in_alternating_order():
    calls = []
    seconds = take_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3)
    assert "".join(calls) == "ab" + "ab" + "ba" + "ab"
    assert {name: len(times) for name, times in seconds.items()} == {"a": 3, "b": 3}


def test_spread_is_that_of_the_rounds():
    assert ratio_spread([2.0, 6.0, 4.0], [1.0, 2.0, 4.0]) == (1.0, 3.0)


def test_median():
    assert median([5.0, 1.0, 2.0]) == 2.0
