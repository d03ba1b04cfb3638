"""Random scenes, and the split into combinations for training and held-out ones.

A thing's combination is its shape and colour, a background's its tone and pattern. Every shape, colour, tone and
pattern occurs in training, but the held-out combinations never do, neither in a scene nor as the result of an edit.

Things stand upright, exactly at their places, in exactly their colours, unless they move: a place is a corner of four
tokens, so that of a thing at rest there are few looks, and a very small model can learn to draw them.
"""

from __future__ import annotations

import random
from dataclasses import replace

from .relations import place_in
from .scene import Background, Scene, Thing
from .words import (
    CAMERAS,
    COLOURS,
    MOTIONS,
    PATTERNS,
    PLACES,
    RELATIONS,
    RGB,
    ROUND_SHAPES,
    SHAPES,
    SIZES,
    STYLES,
    TEXTURES,
    TONES,
)

_NUMBERS = {1: 0.4, 2: 0.45, 3: 0.15}  # of things in a scene -> share
_PLAIN_THINGS, _PLAIN_BACKGROUNDS = 0.6, 0.4


def is_held_out_thing(thing: Thing) -> bool:
    """Whether a thing's shape and colour never occur together in training: one colour in seven for each shape."""
    colour = list(COLOURS).index(thing.colour)
    return (2 * SHAPES.index(thing.shape) + 3 * colour) % 7 == 0


def is_held_out_background(background: Background) -> bool:
    """Whether a background's tone and pattern never occur together in training."""
    return (list(TONES).index(background.tone) + 2 * PATTERNS.index(background.pattern)) % 7 == 3  # noqa: PLR2004


def is_for_training(scene: Scene) -> bool:
    """Whether nothing in a scene is held out."""
    return not any(map(is_held_out_thing, scene.things)) and not is_held_out_background(scene.background)


def random_colour(chance: random.Random, *, other_than: tuple[str, ...] = ()) -> tuple[str, RGB]:
    """A name and what it looks like."""
    name = chance.choice([name for name in COLOURS if name not in other_than])
    return name, COLOURS[name]


def random_background(chance: random.Random) -> Background:
    """Any background."""
    tone = chance.choice(list(TONES))
    pattern = PATTERNS[0] if chance.random() < _PLAIN_BACKGROUNDS else chance.choice(PATTERNS[1:])
    return Background(tone, TONES[tone], pattern)


def random_motion(shape: str, texture: str, chance: random.Random) -> str:
    """A motion that can be seen on such a thing."""
    hidden = {"spins"} if shape in ROUND_SHAPES and texture == "plain" else set()
    return chance.choice([motion for motion in MOTIONS if motion not in hidden])


def free_places(scene_things: tuple[Thing, ...]) -> list[str]:
    """Places that are no neighbours, up, down or aside, of a taken one."""

    def is_free(place: str) -> bool:
        x, y = PLACES[place]
        taken = (PLACES[thing.place] for thing in scene_things)
        return all(abs(x - other_x) + abs(y - other_y) > 0.3 for other_x, other_y in taken)  # noqa: PLR2004

    return [place for place in PLACES if is_free(place)]


def free_relations(thing: Thing, scene_things: tuple[Thing, ...]) -> list[tuple[str, str]]:
    """Free places that words can tell from a thing's: (relation, place)."""
    free = free_places(scene_things)
    return [(relation, place) for relation in RELATIONS if (place := place_in(relation, thing.place)) in free]


def random_thing(chance: random.Random, others: tuple[Thing, ...] = ()) -> Thing:
    """A thing of another shape than the others, at a free place, often plain."""
    shape = chance.choice([shape for shape in SHAPES if shape not in {thing.shape for thing in others}])
    colour, rgb = random_colour(chance)
    texture = TEXTURES[0] if chance.random() < _PLAIN_THINGS else chance.choice(TEXTURES[1:])
    return Thing(
        shape=shape,
        colour=colour,
        rgb=rgb,
        texture=texture,
        size=chance.choice(list(SIZES)),
        place=chance.choice(free_places(others)),
        motion=random_motion(shape, texture, chance),
    )


def random_scene(
    chance: random.Random, *, most_things: int = 3, camera_share: float = 0.1, style_share: float = 0.0
) -> Scene:
    """A scene of 1 to `most_things` things, 3 at most."""
    things: tuple[Thing, ...] = ()
    numbers = range(1, most_things + 1)
    for _ in range(chance.choices(numbers, [_NUMBERS[number] for number in numbers])[0]):
        things = (*things, random_thing(chance, things))
    return Scene(
        things=things,
        background=random_background(chance),
        camera=chance.choice(CAMERAS[1:]) if chance.random() < camera_share else CAMERAS[0],
        style=chance.choice(STYLES[1:]) if chance.random() < style_share else STYLES[0],
    )


def arranged(scene: Scene, chance: random.Random) -> Scene:
    """A scene of one or two things, the second at a place that words can tell from the first's."""
    first, *others = scene.things
    if not others:
        return scene
    (second,) = others
    _, place = chance.choice(free_relations(first, (first,)))
    return replace(scene, things=(first, replace(second, place=place)))
