"""Every edit changes what it says and nothing else, in words that name it."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from loom_core.data.world.chance import random_scene
from loom_core.data.world.edits import EDITS, Ask, with_thing
from loom_core.data.world.relations import place_in
from loom_core.data.world.words import ROUND_SHAPES

SEEDS = range(25)
OF_THINGS = {"recolour": {"colour", "rgb"}, "reshape": {"shape"}, "retexture": {"texture"}, "motion": {"motion"}}


def edits(kind):
    return [EDITS[kind](random_scene(random.Random(seed)), random.Random(seed)) for seed in SEEDS]


def fields(thing):
    return {name: getattr(thing, name) for name in thing.__dataclass_fields__}


@pytest.mark.parametrize(("kind", "changed"), OF_THINGS.items())
def test_edits_of_a_thing(kind, changed):
    for edit in edits(kind):
        (ask,) = edit.asks
        before, after = fields(edit.before.things[ask.thing]), fields(edit.after.things[ask.thing])
        differing = {name for name in before if before[name] != after[name]}
        assert differing == changed
        assert with_thing(edit.before, ask.thing, edit.after.things[ask.thing]) == edit.after


@pytest.mark.parametrize(
    ("kind", "attribute"), [("recolour", "colour"), ("reshape", "shape"), ("retexture", "texture")]
)
def test_the_words_name_the_thing_and_the_answer(kind, attribute):
    for edit in edits(kind):
        thing = edit.before.things[edit.asks[0].thing]
        assert getattr(edit.after.things[edit.asks[0].thing], attribute) in edit.instruction
        assert thing.shape in edit.instruction or f"the {thing.colour} thing" in edit.instruction


def test_remove_takes_the_named_thing_and_leaves_another():
    for edit in edits("remove"):
        index = edit.asks[0].thing
        assert edit.after.things == edit.before.things[:index] + edit.before.things[index + 1 :]
        assert edit.after.things
        assert edit.asks == (Ask("absence", index),)


def test_add_puts_one_more_and_tells_all_of_it():
    for edit in edits("add"):
        *old, new = edit.after.things
        assert tuple(old) == edit.before.things
        assert edit.asks == (Ask("presence", len(old)),)
        for word in (new.size, new.colour, new.shape):
            assert word in edit.instruction


def test_add_says_where_beside_a_named_thing_and_puts_it_exactly_there():
    told = set()
    for edit in edits("add"):
        *old, new = edit.after.things
        words = edit.instruction.split(new.shape, 1)[1].strip(" .")
        relation, name = words.split(" the ")
        (anchor,) = [thing for thing in old if set(name.split()) - {"thing"} <= {thing.colour, thing.shape}]
        assert new.place == place_in(relation, anchor.place)
        assert new.offset == anchor.offset
        told.add(relation)
    assert len(told) > 4


def test_of_the_whole_scene():
    for kind in ("background", "style", "camera"):
        for edit in edits(kind):
            assert replace(edit.after, **{kind: getattr(edit.before, kind)}) == edit.before
            assert edit.after != edit.before
    for edit in edits("background"):
        assert f"{edit.after.background.pattern} {edit.after.background.tone}" in edit.instruction


def test_keep_changes_and_asks_nothing():
    for edit in edits("keep"):
        assert edit.before == edit.after
        assert edit.asks == ()


@pytest.mark.parametrize("kind", EDITS)
def test_no_answer_has_an_invisible_spin(kind):
    for edit in edits(kind):
        for thing in edit.after.things:
            assert not (thing.motion == "spins" and thing.texture == "plain" and thing.shape in ROUND_SHAPES)


@pytest.mark.parametrize("kind", EDITS)
def test_the_kind_is_its_name(kind):
    assert {edit.kind for edit in edits(kind)} == {kind}
