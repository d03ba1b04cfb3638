"""What a pickle asks for is read off without running it (the rest: test_reading.py)."""

from __future__ import annotations

import pickle
from collections import OrderedDict

import pytest

from loom_core.weights.pickles import globals_of


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_globals_are_read_from_every_protocol(protocol):
    assert globals_of(pickle.dumps(OrderedDict(a=1), protocol)) == {"collections.OrderedDict"}
    assert globals_of(pickle.dumps({"a": ["plain"]}, protocol)) == set()


def test_what_is_no_pickle_raises():
    with pytest.raises(ValueError, match="opcode"):
        globals_of(b"\x80\x04 nothing")
