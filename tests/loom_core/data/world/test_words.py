"""The words of the world: no two mean nearly the same colour."""

from __future__ import annotations

import itertools
import math

from loom_core.data.world.words import (
    CAMERAS,
    COLOURS,
    DIRECTIONS,
    MOTIONS,
    PLACES,
    RELATIONS,
    ROUND_SHAPES,
    SHAPES,
    STEP,
    STYLES,
    TONES,
)

LEAST_DISTANCE = 40  # of 255 levels


def test_colours_can_be_told_apart():
    for one, other in itertools.combinations([*COLOURS.values(), *TONES.values()], 2):
        assert math.dist(one, other) > LEAST_DISTANCE


def test_names_are_used_once():
    names = [*COLOURS, *TONES, *SHAPES, *PLACES]
    assert len(names) == len(set(names))


def test_tables_fit_each_other():
    assert set(DIRECTIONS) < set(MOTIONS)
    assert set(SHAPES) > ROUND_SHAPES
    assert (MOTIONS[0], CAMERAS[0], STYLES[0]) == ("stays still", "stays still", "none")


def test_relations_are_where_they_say_and_two_steps_apart():
    for words, (right, down) in RELATIONS.items():
        assert (right < 0) == ("left" in words)
        assert (right > 0) == ("right" in words)
        assert (down < 0) == ("above" in words)
        assert (down > 0) == ("below" in words)
        assert abs(right) + abs(down) == 2  # nearer ones would touch
    steps = {abs(x - other) for x, _ in PLACES.values() for other, _ in PLACES.values()}
    assert steps == {0, STEP, 2 * STEP}


def test_places_are_where_they_say():
    for name, (x, y) in PLACES.items():
        assert (x < 0.5) == ("left" in name)
        assert (x > 0.5) == ("right" in name)
        assert (y < 0.5) == ("top" in name)
        assert (y > 0.5) == ("bottom" in name)
