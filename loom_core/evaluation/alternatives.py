"""What could be seen where something was asked for: the right answer and all others of the same kind, as scenes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..data.world.edits import Ask, with_thing
from ..data.world.samples import Request
from ..data.world.scene import Background, Scene, Thing
from ..data.world.words import CAMERAS, COLOURS, MOTIONS, PATTERNS, RGB, SHAPES, SIZES, STYLES, TEXTURES, TONES
from .fitting import free_things

NOTHING = "nothing"
"""Name of the alternative that a thing is not there."""


@dataclass(frozen=True)
class Alternative:
    """One thing that could be seen.

    Args:
        name: What it shows: "red", "striped navy".
        scene: The right scene but for that.
        is_right: Whether this is what was asked for.
    """

    name: str
    scene: Scene
    is_right: bool = False


def alternatives(request: Request, ask: Ask, scene: Scene) -> tuple[Alternative, ...]:
    """All answers to one ask, at least one of them right.

    A colour that was told in words leaves its shade open: both the shade of the truth and the name's own are right.

    Args:
        request: What was asked.
        ask: Which part of it.
        scene: The right answer, `request.after`, with what the words leave open (`fitting.fit_scene`) as it was found.
    """
    if ask.attribute == "background":
        return _backgrounds(ask, scene)
    if ask.attribute == "style":
        return tuple(Alternative(style, replace(scene, style=style), style == scene.style) for style in STYLES)
    if ask.attribute == "camera":
        return tuple(Alternative(camera, replace(scene, camera=camera), camera == scene.camera) for camera in CAMERAS)
    assert ask.thing is not None
    if ask.attribute == "absence":
        assert request.before is not None
        gone = request.before.things[ask.thing]
        things = (*scene.things[: ask.thing], gone, *scene.things[ask.thing :])
        return (Alternative(NOTHING, scene, True), Alternative(gone.shape, replace(scene, things=things)))
    return _of_thing(ask, scene)


@dataclass(frozen=True)
class Unasked:
    """A part of the right answer that nothing was asked of, and what else could be seen there.

    Args:
        name: "the ring", "the motion of the ring", "the background".
        ask: What to look at.
        options: The right look and all others.
    """

    name: str
    ask: Ask
    options: tuple[Alternative, ...]


def unasked(request: Request, scene: Scene, *, is_clip: bool) -> list[Unasked]:
    """What must be seen as the right answer has it, though nothing was asked of it: all but colours.

    Of a thing that something was asked of, it is the rest: a recoloured thing keeps its shape.

    Args:
        request: What was asked.
        scene: See `alternatives`.
        is_clip: Whether motion can be seen.
    """
    parts = []
    free = free_things(request)  # of a free one's size the fitted scene tells
    for index, thing in enumerate(scene.things):
        asked = {ask.attribute for ask in request.asks if ask.thing == index and ask.attribute != "absence"}
        if "presence" in asked:
            asked.add("shape")
        if index in free:
            asked.add("size")
        looks = _looks_of(scene, index, {"shape", "texture", "size"} - asked)
        parts.append(Unasked(f"the {thing.shape}", Ask("presence", index), looks))
        if is_clip and "motion" not in asked:
            motion = Ask("motion", index)
            parts.append(Unasked(f"the motion of the {thing.shape}", motion, _of_thing(motion, scene)))
    if all(ask.attribute != "background" for ask in request.asks):
        parts.append(Unasked("the background", Ask("background"), _backgrounds(Ask("background"), scene)))
    return parts


def other_looks(thing: Thing, attribute: str) -> list[tuple[str, Thing]]:
    """A thing with every other value of one attribute: of its colour, shape, texture, size or motion."""
    every = {
        "colour": lambda it: [(name, replace(it, colour=name, rgb=rgb)) for name, rgb in COLOURS.items()],
        "shape": lambda it: [(shape, replace(it, shape=shape)) for shape in SHAPES],
        "texture": lambda it: [(texture, replace(it, texture=texture)) for texture in TEXTURES],
        "size": lambda it: [(size, replace(it, size=size)) for size in SIZES],
        "motion": lambda it: [(motion, replace(it, motion=motion)) for motion in MOTIONS],
    }[attribute](thing)
    return [(value, other) for value, other in every if value != getattr(thing, attribute)]


def _looks_of(scene: Scene, index: int, attributes: set[str]) -> tuple[Alternative, ...]:
    """A thing as it is, gone, and with another shape, texture or size."""
    thing = scene.things[index]
    others = [
        Alternative(value, with_thing(scene, index, other))
        for attribute in sorted(attributes)
        for value, other in other_looks(thing, attribute)
    ]
    return (Alternative(thing.shape, scene, is_right=True), _absent(scene, index), *others)


def _absent(scene: Scene, index: int) -> Alternative:
    return Alternative(NOTHING, replace(scene, things=scene.things[:index] + scene.things[index + 1 :]))


def _of_thing(ask: Ask, scene: Scene) -> tuple[Alternative, ...]:
    assert ask.thing is not None
    index, thing = ask.thing, scene.things[ask.thing]

    def seen(name: str, other: Thing, *, is_right: bool) -> Alternative:
        return Alternative(name, with_thing(scene, index, other), is_right)

    absent = _absent(scene, index)
    if ask.attribute == "presence":  # of what was asked for: its colour and shape count
        others = other_looks(thing, "colour") + other_looks(thing, "shape")
        wrong = [seen(name, other, is_right=False) for name, other in others]
        right = [seen(f"{thing.colour} {thing.shape}", version, is_right=True) for version in _shades(thing, ask)]
        return (*right, absent, *wrong)
    wrong = [seen(name, other, is_right=False) for name, other in other_looks(thing, ask.attribute)]
    versions = _shades(thing, ask) if ask.attribute == "colour" else [thing]
    own = getattr(thing, ask.attribute)
    return (*(seen(own, version, is_right=True) for version in versions), absent, *wrong)


def _shades(thing: Thing, ask: Ask) -> list[Thing]:
    return [replace(thing, rgb=rgb) for rgb in _right_shades(ask, thing.rgb, COLOURS[thing.colour])]


def _right_shades(ask: Ask, exact: RGB, of_name: RGB) -> list[RGB]:
    return [exact] if ask.reference is not None or exact == of_name else [exact, of_name]


def _backgrounds(ask: Ask, scene: Scene) -> tuple[Alternative, ...]:
    own = scene.background
    right = [Background(own.tone, rgb, own.pattern) for rgb in _right_shades(ask, own.rgb, TONES[own.tone])]
    wrong = [
        Background(tone, own.rgb if tone == own.tone else rgb, pattern)
        for tone, rgb in TONES.items()
        for pattern in PATTERNS
        if (tone, pattern) != (own.tone, own.pattern)
    ]
    return tuple(
        Alternative(
            f"{background.pattern} {background.tone}", replace(scene, background=background), index < len(right)
        )
        for index, background in enumerate([*right, *wrong])
    )
