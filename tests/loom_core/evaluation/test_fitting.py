"""A thing that a caption names is found where it lies; one that was given stays where it was."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loom_core.data.world.edits import Ask, with_thing
from loom_core.data.world.words import COLOURS
from loom_core.evaluation.fitting import fit_scene, free_things


@pytest.fixture
def pair(square, ring, scene):
    """Things that words can place: the ring below and right of the square."""
    return replace(scene, things=(square, replace(ring, place="middle")))


def test_what_is_made_anew_is_found_wherever_it_is_as_a_whole(edit, pair, paint):
    request = edit("generate", None, pair, Ask("colour", 0), Ask("colour", 1), task="text-to-video")
    for x, y in ((32.0, 0.0), (6.0, 26.0)):
        moved = replace(pair, things=tuple(replace(thing, offset=(x, y)) for thing in pair.things))
        found = fit_scene(request, paint(moved))
        assert [(thing.offset, thing.size) for thing in found.things] == [((x, y), "large")] * 2


def test_what_is_added_stays_beside_its_thing(edit, pair, paint):
    """With a source nothing is shifted as a whole."""
    request = edit("add", replace(pair, things=pair.things[:1]), pair, Ask("presence", 1))
    moved = with_thing(pair, 1, replace(pair.things[1], offset=(32.0, 0.0)))
    assert abs(fit_scene(request, paint(moved)).things[1].offset[0]) < 16  # half of a step


@pytest.mark.parametrize("offset", [(0.0, 0.0), (8.0, -8.0), (-4.0, 4.0)])
def test_a_shifted_thing_of_the_other_size_is_found(edit, scene, paint, offset):
    request = edit("generate", None, scene, Ask("colour", 0), Ask("shape", 0), task="text-to-video")
    moved = with_thing(scene, 0, replace(scene.things[0], offset=offset, size="small"))
    found = fit_scene(request, paint(moved))
    assert (found.things[0].offset, found.things[0].size) == (offset, "small")


def test_the_named_shade_is_found(edit, scene, paint):
    shaded = with_thing(scene, 0, replace(scene.things[0], rgb=(215, 50, 50)))
    request = edit("generate", None, shaded, Ask("colour", 0), task="text-to-video")
    assert fit_scene(request, paint(scene)).things[0].rgb == COLOURS["red"]
    assert fit_scene(request, paint(shaded)).things[0].rgb == (215, 50, 50)


def test_what_was_given_does_not_move(edit, scene, paint):
    request = edit("recolour", scene, scene, Ask("colour", 0))
    moved = with_thing(scene, 0, replace(scene.things[0], offset=(8.0, 8.0)))
    assert free_things(request) == []
    assert fit_scene(request, paint(moved)) == scene


def test_what_was_added_may_lie_a_little_aside(edit, scene, paint):
    request = edit("add", replace(scene, things=scene.things[:1]), scene, Ask("presence", 1))
    moved = with_thing(scene, 1, replace(scene.things[1], offset=(-8.0, 4.0)))
    assert free_things(request) == [1]
    assert fit_scene(request, paint(moved)).things[1].offset == (-8.0, 4.0)
