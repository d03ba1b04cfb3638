"""Captions say all that can be seen and nothing else; names mean one thing."""

from __future__ import annotations

import random

import pytest

from loom_core.data.world.captions import backdrop, caption, looks, name_of, with_article
from loom_core.data.world.chance import arranged, random_scene
from loom_core.data.world.relations import relation_of
from loom_core.data.world.scene import Background, Scene, Thing

STAR = Thing("star", "orange", (245, 130, 30), texture="dotted", size="small", place="top left", motion="spins")
RING = Thing("ring", "blue", (45, 80, 225), place="middle", motion="moves up")
SCENE = Scene((STAR, RING), Background("teal", (18, 92, 92), "checkered"), camera="zooms in", style="warm")


def test_words():
    assert (with_article("orange star"), with_article("star")) == ("an orange star", "a star")
    assert looks(STAR) == "small orange dotted star"
    assert looks(RING, with_size=False) == "blue ring"
    assert backdrop(SCENE.background) == "checkered teal"


def test_a_clip_is_told_with_its_motion_camera_and_style():
    assert caption(SCENE, num_frames=9) == (
        "A small orange dotted star spins. Below and right of it a large blue ring moves up. "
        "The background is checkered teal. The camera zooms in. The colours are warm."
    )


def test_a_still_is_told_without_what_it_cannot_show():
    assert caption(SCENE, num_frames=1) == (
        "A small orange dotted star. Below and right of it a large blue ring. "
        "The background is checkered teal. The colours are warm."
    )


@pytest.mark.parametrize("seed", range(20))
def test_captions_are_exact(seed):
    """Each thing's words stand together in one sentence, and there is a sentence for each."""
    chance = random.Random(seed)
    scene = arranged(random_scene(chance, most_things=2), chance)
    sentences = caption(scene, num_frames=9).split(". ")
    for thing in scene.things:
        own = [sentence for sentence in sentences if looks(thing) in sentence]
        assert len(own) == 1
        assert thing.motion in own[0]
    beside = [sentence.split(" it ")[0].lower() for sentence in sentences if " it " in sentence]
    assert beside == [relation_of(other.place, scene.things[0].place) for other in scene.things[1:]]
    assert len(sentences) == len(scene.things) + 1 + (scene.camera != "stays still")


@pytest.mark.parametrize("seed", range(20))
def test_a_name_means_one_thing(seed):
    chance = random.Random(seed)
    scene = random_scene(chance)
    for thing in scene.things:
        name = name_of(thing, scene, chance).removeprefix("the ").split()
        meant = [other for other in scene.things if set(name) - {"thing"} <= {other.colour, other.shape}]
        assert meant == [thing]
