"""Every ask has all answers of its kind, and those that are right say so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loom_core.data.world.edits import EDITS, Ask, with_thing
from loom_core.data.world.samples import WorldSettings, make_request
from loom_core.data.world.scene import Background
from loom_core.data.world.words import COLOURS, MOTIONS, SHAPES, TEXTURES
from loom_core.evaluation.alternatives import NOTHING, alternatives, unasked


def names(options, *, right):
    return {option.name for option in options if option.is_right == right}


@pytest.mark.parametrize(
    ("attribute", "own", "all_names"),
    [
        ("colour", "red", COLOURS),
        ("shape", "square", SHAPES),
        ("texture", "plain", TEXTURES),
        ("motion", "stays still", MOTIONS),
    ],
)
def test_of_a_thing(edit, scene, attribute, own, all_names):
    options = alternatives(edit("any", scene, scene), Ask(attribute, 0), scene)
    assert names(options, right=True) == {own}
    assert names(options, right=False) == {*all_names, NOTHING} - {own}
    (absent,) = (option.scene for option in options if option.name == NOTHING)
    assert absent.things == scene.things[1:]
    for option in options:
        if option.name == NOTHING:
            continue
        assert getattr(option.scene.things[0], attribute) == option.name
        assert option.scene.things[1] == scene.things[1]


def test_a_told_colour_leaves_its_shade_open_and_a_shown_one_does_not(edit, scene):
    shaded = with_thing(scene, 0, replace(scene.things[0], rgb=(230, 45, 35)))
    told = alternatives(edit("recolour", scene, shaded), Ask("colour", 0), shaded)
    shown = alternatives(edit("1 reference", scene, shaded), Ask("colour", 0, reference=1), shaded)
    assert [option.scene.things[0].rgb for option in told if option.is_right] == [(230, 45, 35), COLOURS["red"]]
    assert [option.scene.things[0].rgb for option in shown if option.is_right] == [(230, 45, 35)]


def test_a_thing_that_should_be_gone(edit, scene):
    after = replace(scene, things=scene.things[1:])
    gone, there = alternatives(edit("remove", scene, after), Ask("absence", 0), after)
    assert (gone.name, gone.is_right, gone.scene) == (NOTHING, True, after)
    assert (there.is_right, there.scene) == (False, scene)


def test_a_thing_that_should_be_there_has_its_colour_and_shape(edit, scene):
    options = alternatives(edit("add", replace(scene, things=scene.things[:1]), scene), Ask("presence", 1), scene)
    assert names(options, right=True) == {"cyan ring"}
    assert names(options, right=False) == {NOTHING} | set(COLOURS) - {"cyan"} | set(SHAPES) - {"ring"}


def test_backgrounds_are_tones_by_patterns(edit, scene):
    after = replace(scene, background=Background("navy", (30, 30, 95), "striped"))
    options = alternatives(edit("background", scene, after), Ask("background"), after)
    assert names(options, right=True) == {"striped navy"}
    assert len(names(options, right=False)) == 7 * 4 - 1
    assert all(option.scene.things == scene.things for option in options)


@pytest.mark.parametrize("attribute", ["style", "camera"])
def test_of_the_whole_scene(edit, scene, attribute):
    options = alternatives(edit(attribute, scene, scene), Ask(attribute), scene)
    assert [getattr(option.scene, attribute) for option in options] == [option.name for option in options]
    assert sum(option.is_right for option in options) == 1


def test_every_kind_of_edit_has_alternatives():
    for kind in set(EDITS) - {"keep"}:
        settings = WorldSettings(edits={name: float(name == kind) for name in EDITS})
        request, _ = make_request(1, settings)
        for ask in request.asks:
            options = alternatives(request, ask, request.after)
            assert {option.is_right for option in options} == {True, False}


def test_what_nothing_was_asked_of_may_only_look_as_it_should(edit, scene):
    request = edit("recolour", scene, scene, Ask("colour", 0))
    parts = {part.name: part for part in unasked(request, scene, is_clip=True)}
    looks = {*SHAPES, *TEXTURES, "small", NOTHING}
    assert set(parts) == {
        "the square", "the motion of the square", "the ring", "the motion of the ring", "the background",
    }  # fmt: skip
    assert names(parts["the square"].options, right=False) == looks - {"square", "plain"}
    assert names(parts["the ring"].options, right=False) == looks - {"ring", "plain"}
    assert names(parts["the motion of the ring"].options, right=True) == {"moves up"}
    for part in parts.values():
        (right,) = (option.scene for option in part.options if option.is_right)
        assert right == scene


def test_what_was_asked_of_is_left_to_its_own_verdict(edit, scene):
    def found(*asks, before=scene, is_clip=True):
        parts = unasked(edit("any", before, scene, *asks), scene, is_clip=is_clip)
        return {part.name: names(part.options, right=False) for part in parts}

    assert "the background" not in found(Ask("background"))
    assert "the motion of the ring" not in found(Ask("motion", 1))
    assert "the motion of the ring" not in found(is_clip=False)
    assert found(Ask("shape", 0))["the square"] == {*TEXTURES, "small", NOTHING} - {"plain"}
    assert found(Ask("presence", 0))["the square"] == {*TEXTURES, NOTHING} - {"plain"}
    assert found(Ask("absence", 0))["the square"] == found()["the square"], "another thing that was there before"
    assert "small" not in found(before=None)["the square"], "words leave it to the fitted scene"
