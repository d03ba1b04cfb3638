"""Faults change what nobody asked about, and nothing else."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from loom_core.data.world.edits import Ask, with_thing
from loom_core.data.world.words import TONES
from loom_core.evaluation.faults import FAULTS


@pytest.fixture
def recolour(edit, scene):
    return edit("recolour", scene, with_thing(scene, 0, replace(scene.things[0], colour="blue")), Ask("colour", 0))


@pytest.fixture
def generate(edit, scene):
    asks = (Ask("colour", 0), Ask("colour", 1), Ask("background"))
    return edit("generate", None, scene, *asks, task="text-to-video")


def test_a_thing_more(recolour):
    wrong = FAULTS["a thing more"](recolour, random.Random(1))
    assert wrong.things[:2] == recolour.after.things
    assert len(wrong.things) == 3


def test_there_may_be_no_room_for_one(edit, scene):
    places = ("top left", "top right", "middle", "bottom left", "bottom right")
    full = replace(scene, things=tuple(replace(scene.things[0], place=place) for place in places))
    assert FAULTS["a thing more"](edit("keep", full, full), random.Random(1)) is None


def test_another_background(recolour):
    wrong = FAULTS["another background"](recolour, random.Random(1))
    assert wrong.things == recolour.after.things
    assert wrong.background.tone != "grey"
    assert (wrong.background.rgb, wrong.background.pattern) == (TONES[wrong.background.tone], "plain")


def test_another_thing_not_the_one_asked_about(recolour):
    for seed in range(5):
        coloured = FAULTS["another thing recoloured"](recolour, random.Random(seed))
        moved = FAULTS["another thing moved"](recolour, random.Random(seed))
        assert coloured.things[0] == moved.things[0] == recolour.after.things[0]
        assert coloured.things[1].colour != "cyan"
        assert math.hypot(*moved.things[1].offset) == 8


@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        ("another thing reshaped", "shape"),
        ("another thing retextured", "texture"),
        ("another thing resized", "size"),
    ],
)
def test_another_look_of_a_thing_that_nothing_was_asked_of(recolour, generate, name, attribute):
    ring = recolour.after.things[1]
    for seed in range(5):
        first, second = FAULTS[name](recolour, random.Random(seed)).things
        assert first == recolour.after.things[0]
        assert getattr(second, attribute) != getattr(ring, attribute)
        assert replace(second, **{attribute: getattr(ring, attribute)}) == ring
    assert FAULTS[name](generate, random.Random(1)) is None


def test_the_asked_thing_in_another_shape_but_where_its_shape_was_asked(edit, scene, recolour):
    first, second = FAULTS["an asked thing reshaped"](recolour, random.Random(1)).things
    assert (first.shape != "square", first.colour, second) == (True, "blue", scene.things[1])
    for ask in (Ask("shape", 0), Ask("presence", 0), Ask("background")):
        assert FAULTS["an asked thing reshaped"](edit("any", scene, scene, ask), random.Random(1)) is None


def test_another_pattern_but_where_the_background_was_asked(recolour, generate):
    wrong = FAULTS["another pattern"](recolour, random.Random(1))
    assert wrong.background.pattern != "plain"
    assert replace(wrong.background, pattern="plain") == recolour.after.background
    assert FAULTS["another pattern"](generate, random.Random(1)) is None


def test_only_what_words_describe_has_a_wrong_size(recolour, generate):
    assert FAULTS["wrong size"](recolour, random.Random(1)) is None
    sizes = [thing.size for thing in FAULTS["wrong size"](generate, random.Random(1)).things]
    assert sorted(sizes) == ["large", "small"]


def test_only_what_words_place_can_be_on_another_side(edit, recolour, generate, scene):
    add = edit("add", replace(scene, things=scene.things[:1]), scene, Ask("presence", 1))
    assert FAULTS["on another side"](recolour, random.Random(1)) is None
    alone = replace(generate, after=replace(scene, things=scene.things[:1]))
    assert FAULTS["on another side"](alone, random.Random(1)) is None
    for request in (add, generate):
        first, second = FAULTS["on another side"](request, random.Random(1)).things
        assert first == scene.things[0]
        assert second == replace(scene.things[1], place=second.place)
        assert second.place not in ("top left", "bottom right")


def test_where_all_is_asked_about_no_other_thing_is_left(generate):
    assert FAULTS["another thing recoloured"](generate, random.Random(1)) is None
    assert FAULTS["another thing moved"](generate, random.Random(1)) is None
