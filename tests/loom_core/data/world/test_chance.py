"""Random scenes are drawable, and what is held out is a small part with every shape, colour, tone and pattern."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

from loom_core.data.world.chance import (
    arranged,
    free_places,
    free_relations,
    is_for_training,
    is_held_out_background,
    is_held_out_thing,
    random_background,
    random_colour,
    random_motion,
    random_scene,
)
from loom_core.data.world.relations import relation_of
from loom_core.data.world.scene import Background, Thing
from loom_core.data.world.words import COLOURS, PATTERNS, PLACES, SHAPES, TONES

COMBINATIONS = list(itertools.product(SHAPES, COLOURS))
BACKDROPS = list(itertools.product(TONES, PATTERNS))


def held_out_things():
    return {pair for pair in COMBINATIONS if is_held_out_thing(Thing(*pair, COLOURS[pair[1]]))}


def held_out_backgrounds():
    return {(tone, name) for tone, name in BACKDROPS if is_held_out_background(Background(tone, TONES[tone], name))}


def test_a_small_part_of_the_combinations_is_held_out():
    assert 0.1 < len(held_out_things()) / len(COMBINATIONS) < 0.2
    assert 0.1 < len(held_out_backgrounds()) / len(BACKDROPS) < 0.2


def test_every_part_is_held_out_once_and_seen_in_training_often():
    held_out = held_out_things()
    assert {shape for shape, _ in held_out} == set(SHAPES)
    assert {colour for _, colour in held_out} == set(COLOURS)
    training = set(COMBINATIONS) - held_out
    assert min(sum(shape == own for own, _ in training) for shape in SHAPES) >= 7
    assert min(sum(colour == own for _, own in training) for colour in COLOURS) >= 5
    assert {pattern for _, pattern in held_out_backgrounds()} == set(PATTERNS)


def test_scenes_can_be_named_and_seen():
    for seed in range(60):
        scene = random_scene(random.Random(seed))
        shapes = [thing.shape for thing in scene.things]
        assert 1 <= len(shapes) <= 3
        assert len(set(shapes)) == len(shapes)
        for one, other in itertools.combinations(scene.things, 2):
            (x, y), (other_x, other_y) = PLACES[one.place], PLACES[other.place]
            assert abs(x - other_x) + abs(y - other_y) > 0.3


def test_both_splits_occur():
    kinds = {is_for_training(random_scene(random.Random(seed))) for seed in range(60)}
    assert kinds == {True, False}


def test_colours_are_those_of_their_names_and_can_be_excluded():
    chance = random.Random(0)
    seen = [random_colour(chance, other_than=("red",)) for _ in range(100)]
    assert {name for name, _ in seen} == set(COLOURS) - {"red"}
    assert all(rgb == COLOURS[name] for name, rgb in seen)


def test_things_stand_upright_exactly_at_their_places():
    chance = random.Random(0)
    things = [thing for _ in range(50) for thing in random_scene(chance).things]
    assert len(things) > 50
    assert {(thing.offset, thing.angle, thing.scale) for thing in things} == {((0.0, 0.0), 0.0, 1.0)}


def test_no_invisible_spin():
    chance = random.Random(0)
    assert "spins" not in {random_motion("ring", "plain", chance) for _ in range(200)}
    assert "spins" in {random_motion("ring", "striped", chance) for _ in range(200)}


def test_places_beside_a_thing_are_taken():
    middle = Thing("star", "red", COLOURS["red"], place="middle")
    assert set(free_places((middle,))) == {"top left", "top right", "bottom left", "bottom right"}
    assert set(free_places(())) == set(PLACES)


def test_beside_one_or_two_things_words_can_always_name_a_free_place():
    one = Thing("star", "red", COLOURS["red"])
    for place in PLACES:
        first = replace(one, place=place)
        for other in free_places((first,)):
            second = replace(one, place=other)
            for anchor, things in ((first, (first,)), (first, (first, second)), (second, (first, second))):
                found = free_relations(anchor, things)
                assert found
                for relation, free in found:
                    assert relation_of(free, anchor.place) == relation
                    assert free in free_places(things)


def test_a_scene_is_arranged_so_that_words_can_tell_it():
    places = set()
    for seed in range(60):
        chance = random.Random(seed)
        before = random_scene(chance, most_things=2)
        scene = arranged(before, chance)
        first, *others = scene.things
        places.add(first.place)
        assert first == before.things[0]
        for own, other in zip(before.things[1:], others, strict=True):
            assert relation_of(other.place, first.place)
            assert other == replace(own, place=other.place, offset=first.offset)
    assert places == set(PLACES)


def test_all_backgrounds_occur():
    chance = random.Random(0)
    found = {(one.tone, one.pattern) for one in (random_background(chance) for _ in range(400))}
    assert found == set(BACKDROPS)
