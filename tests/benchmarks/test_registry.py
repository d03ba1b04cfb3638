"""Every benchmark that is named can be asked what it is, and together they stay within their ten minutes."""

import pytest

from benchmarks.registry import NAMES, Benchmark, find
from loom_core.errors import ConfigError

MOST_SECONDS = 600


def test_all_are_there_in_order():
    found = find()
    assert tuple(found) == NAMES
    assert len(set(NAMES)) == len(NAMES)
    assert all(isinstance(one, Benchmark) and one.about for one in found.values())


def test_they_promise_to_be_done_in_ten_minutes():
    assert sum(one.seconds for one in find().values()) <= MOST_SECONDS


def test_chosen_ones_keep_the_order():
    assert tuple(find(NAMES[1::-1])) == NAMES[:2]


def test_an_unknown_name():
    with pytest.raises(ConfigError, match="no benchmark fast"):
        find(("fast",))
