"""Speeds by name, and what shortcuts refuse."""

from __future__ import annotations

import math

import pytest

from loom_core.config.speed import EXACT, SPEEDS, Shortcuts, get_speed
from loom_core.errors import ConfigError


def test_exact_leaves_nothing_out_and_the_others_do():
    assert get_speed(EXACT).shortcuts == Shortcuts()
    assert [name for name, speed in SPEEDS.items() if speed.shortcuts.is_exact] == [EXACT]
    assert all(speed.about for speed in SPEEDS.values())


@pytest.mark.parametrize(
    ("given", "is_exact"),
    [
        ({}, True),
        ({"guidance_every": 0, "guidance_share": 1.0}, True),
        ({"guidance_every": 2}, False),
        ({"guidance_every": 0}, False),
        ({"reuse_threshold": 0.01}, False),
    ],
)
def test_exact_is_told_from_the_numbers(given, is_exact):
    assert Shortcuts(**given).is_exact is is_exact


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"guidance_share": 1.1}, "guidance share 1.1"),
        ({"guidance_share": math.nan}, "guidance share nan"),
        ({"reuse_after": 1.5}, "reuse after 1.5"),
        ({"guidance_every": -1}, "guidance every -1"),
        ({"reuse_threshold": -0.1}, "reuse threshold -0.1"),
        ({"reuse_threshold": math.inf}, "reuse threshold inf"),
    ],
)
def test_numbers_out_of_range_are_refused(given, found):
    with pytest.raises(ConfigError, match=found):
        Shortcuts(**given)


def test_an_unknown_speed_lists_the_known_ones():
    with pytest.raises(ConfigError, match=r"speed 'warp'.*exact, balanced, fast"):
        get_speed("warp")
