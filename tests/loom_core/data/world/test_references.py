"""Requests with references: each names its picture, and the picture shows what is asked."""

from __future__ import annotations

import random
import re

import pytest
import torch

from loom_core.data.world.chance import random_scene
from loom_core.data.world.references import PARTS, Reference, reference_edit, reference_scene
from loom_core.data.world.render import silhouette, swatch, texture_sample
from loom_core.data.world.scene import Background, Thing

SEEDS = range(12)


def requests(count):
    for seed in SEEDS:
        chance = random.Random(seed)
        yield reference_edit(random_scene(chance, most_things=2), count=count, chance=chance)
        yield reference_scene(count=count, moving=seed % 2 == 0, chance=chance)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_each_reference_is_named_once_and_asked_for(count):
    for request in requests(count):
        assert sorted(map(int, re.findall(r"@Image (\d)", request.instruction))) == list(range(1, count + 1))
        assert sorted(ask.reference for ask in request.asks) == list(range(1, count + 1))
        assert len({reference.part for reference in request.references}) == count


@pytest.mark.parametrize("count", [1, 4])
def test_the_words_ask_for_the_part_that_the_picture_shows(count):
    for request in requests(count):
        for ask in request.asks:
            reference = request.references[ask.reference - 1]
            assert ask.attribute == reference.part
            before = request.instruction[: request.instruction.index(f"@Image {ask.reference}")]
            assert reference.part in before.lower()


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_the_answer_has_what_the_pictures_show(count):
    for request in requests(count):
        for ask in request.asks:
            reference = request.references[ask.reference - 1]
            if reference.part == "background":
                assert request.after.background == reference.background
                continue
            thing = request.after.things[ask.thing]
            name = "rgb" if reference.part == "colour" else reference.part
            assert getattr(thing, name) == getattr(reference.thing, name)


def test_an_edit_changes_every_part_that_is_shown():
    for seed in SEEDS:
        chance = random.Random(seed)
        request = reference_edit(random_scene(chance, most_things=2), count=4, chance=chance)
        index = next(ask.thing for ask in request.asks if ask.thing is not None)
        before, after = request.before.things[index], request.after.things[index]
        assert all(getattr(before, part) != getattr(after, part) for part in ("colour", "texture", "shape"))
        assert request.before.background != request.after.background


def test_pictures():
    thing = Thing("moon", "pink", (250, 150, 200), texture="dotted")
    assert torch.equal(Reference("colour", thing).picture(), swatch(thing.rgb))
    assert torch.equal(Reference("texture", thing).picture(), texture_sample("dotted"))
    assert torch.equal(Reference("shape", thing).picture(), silhouette("moon"))
    backdrop = Reference("background", background=Background("teal", (18, 92, 92))).picture(width=64, height=32)
    assert backdrop.shape == (1, 32, 64, 3)
    assert backdrop[0, 0, 0].tolist() == [18, 92, 92]


def test_parts_are_all_used():
    assert {reference.part for request in requests(2) for reference in request.references} == set(PARTS)


def test_what_is_new_is_told_without_a_place():
    chance = random.Random(1)
    words = " ".join(reference_scene(count=1, moving=False, chance=chance).instruction for _ in range(50)).lower()
    assert not any(f" {word} " in words for word in ("at", "in", "left", "right", "middle"))
