"""Edits: an instruction, the scene that it asks for, and what has to be looked at to see whether it was obeyed."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from .captions import backdrop, looks, name_of, with_article
from .chance import free_relations, random_background, random_colour, random_motion, random_thing
from .scene import Scene, Thing
from .words import CAMERAS, MOTIONS, ROUND_SHAPES, SHAPES, STYLES, TEXTURES


@dataclass(frozen=True)
class Ask:
    """One thing that was asked for.

    Args:
        attribute: "colour", "shape", "texture", "presence", "absence", "background", "style", "motion" or "camera".
        thing: Which thing of the scene after the edit (of the one before, for "absence"); None for the whole scene.
        reference: Number of the reference, from 1, that shows it; None if it is told in words.
    """

    attribute: str
    thing: int | None = None
    reference: int | None = None


@dataclass(frozen=True)
class Edit:
    """An edit of a scene.

    Args:
        kind: Of `EDITS`.
        instruction: In words.
        before: What is given.
        after: What is asked for.
        asks: What to look at; empty when nothing may change.
    """

    kind: str
    instruction: str
    before: Scene
    after: Scene
    asks: tuple[Ask, ...]


def with_thing(scene: Scene, index: int, thing: Thing) -> Scene:
    """The scene with one thing exchanged."""
    return replace(scene, things=(*scene.things[:index], thing, *scene.things[index + 1 :]))


def _pick(scene: Scene, chance: random.Random) -> tuple[int, Thing, str]:
    index = chance.randrange(len(scene.things))
    return index, scene.things[index], name_of(scene.things[index], scene, chance)


def _recolour(scene: Scene, chance: random.Random) -> Edit:
    index, thing, name = _pick(scene, chance)
    colour, rgb = random_colour(chance, other_than=(thing.colour,))
    texts = (f"Make {name} {colour}.", f"Paint {name} {colour}.", f"Change the colour of {name} to {colour}.")
    after = with_thing(scene, index, replace(thing, colour=colour, rgb=rgb))
    return Edit("recolour", chance.choice(texts), scene, after, (Ask("colour", index),))


def _reshape(scene: Scene, chance: random.Random) -> Edit:
    index, thing, name = _pick(scene, chance)
    taken = {other.shape for other in scene.things}
    if thing.motion == "spins" and thing.texture == "plain":
        taken |= ROUND_SHAPES
    shape = chance.choice([shape for shape in SHAPES if shape not in taken])
    texts = (f"Turn {name} into {with_article(shape)}.", f"Make {name} {with_article(shape)}.")
    return Edit(
        "reshape",
        chance.choice(texts),
        scene,
        with_thing(scene, index, replace(thing, shape=shape)),
        (Ask("shape", index),),
    )


def _retexture(scene: Scene, chance: random.Random) -> Edit:
    index, thing, name = _pick(scene, chance)
    texture = chance.choice([texture for texture in TEXTURES if texture != thing.texture])
    motion = thing.motion
    if motion == "spins" and thing.shape in ROUND_SHAPES:
        texture = chance.choice([texture for texture in TEXTURES[1:] if texture != thing.texture])
    texts = (f"Make {name} {texture}.", f"Give {name} {with_article(texture)} texture.")
    after = with_thing(scene, index, replace(thing, texture=texture))
    return Edit("retexture", chance.choice(texts), scene, after, (Ask("texture", index),))


def _remove(scene: Scene, chance: random.Random) -> Edit:
    if len(scene.things) == 1:
        scene = replace(scene, things=(*scene.things, random_thing(chance, scene.things)))
    index, _, name = _pick(scene, chance)
    after = replace(scene, things=scene.things[:index] + scene.things[index + 1 :])
    texts = (f"Remove {name}.", f"Take {name} away.", f"Delete {name}.")
    return Edit("remove", chance.choice(texts), scene, after, (Ask("absence", index),))


def _add(scene: Scene, chance: random.Random) -> Edit:
    if len(scene.things) == 3:  # noqa: PLR2004 - no more than three find room
        scene = replace(scene, things=scene.things[:2])
    _, anchor, name = _pick(scene, chance)
    relation, place = chance.choice(free_relations(anchor, scene.things))  # beside two things at most some are free
    thing = random_thing(chance, scene.things)
    thing = replace(thing, motion="stays still", place=place)
    after = replace(scene, things=(*scene.things, thing))
    words = f"{with_article(looks(thing))} {relation} {name}"
    texts = (f"Add {words}.", f"Put {words}.")
    return Edit("add", chance.choice(texts), scene, after, (Ask("presence", len(scene.things)),))


def _background(scene: Scene, chance: random.Random) -> Edit:
    background = random_background(chance)
    while (background.tone, background.pattern) == (scene.background.tone, scene.background.pattern):
        background = random_background(chance)
    words = backdrop(background)
    texts = (f"Change the background to {words}.", f"Make the background {words}.")
    return Edit("background", chance.choice(texts), scene, replace(scene, background=background), (Ask("background"),))


_STYLE_TEXTS: Mapping[str, tuple[str, ...]] = {
    "black and white": ("Make it black and white.", "Take the colours away."),
    "warm": ("Make it warmer.", "Make the colours warmer."),
    "cold": ("Make it colder.", "Make the colours colder."),
    "dark": ("Make it darker.", "Make the whole picture darker."),
    "negative": ("Invert the colours.", "Make it a negative."),
}


def style_instruction(style: str, chance: random.Random) -> str:
    """Words that ask for a style."""
    return chance.choice(_STYLE_TEXTS[style])


def _style(scene: Scene, chance: random.Random) -> Edit:
    style = chance.choice(STYLES[1:])
    scene = replace(scene, style="none")
    return Edit("style", style_instruction(style, chance), scene, replace(scene, style=style), (Ask("style"),))


_MOTION_TEXTS: Mapping[str, tuple[str, ...]] = {
    "stays still": ("Make {} stay still.", "Stop {}."),
    "moves left": ("Make {} move left.", "Move {} to the left."),
    "moves right": ("Make {} move right.", "Move {} to the right."),
    "moves up": ("Make {} move up.", "Move {} up."),
    "moves down": ("Make {} move down.", "Move {} down."),
    "spins": ("Make {} spin.", "Spin {}."),
    "grows": ("Make {} grow.", "Let {} grow."),
    "shrinks": ("Make {} shrink.", "Let {} shrink."),
}


def _motion(scene: Scene, chance: random.Random) -> Edit:
    index, thing, name = _pick(scene, chance)
    motion = random_motion(thing.shape, thing.texture, chance)
    while motion == thing.motion:
        motion = chance.choice([other for other in MOTIONS if other != "spins"])
    text = chance.choice(_MOTION_TEXTS[motion]).format(name)
    after = with_thing(scene, index, replace(thing, motion=motion))
    return Edit("motion", text, scene, after, (Ask("motion", index),))


_CAMERA_TEXTS: Mapping[str, tuple[str, ...]] = {
    "zooms in": ("Zoom in.", "Make the camera zoom in."),
    "zooms out": ("Zoom out.", "Make the camera zoom out."),
    "pans left": ("Pan left.", "Make the camera pan left."),
    "pans right": ("Pan right.", "Make the camera pan right."),
}


def _camera(scene: Scene, chance: random.Random) -> Edit:
    scene = replace(scene, camera="stays still")
    camera = chance.choice(CAMERAS[1:])
    return Edit("camera", chance.choice(_CAMERA_TEXTS[camera]), scene, replace(scene, camera=camera), (Ask("camera"),))


def _keep(scene: Scene, chance: random.Random) -> Edit:
    return Edit("keep", chance.choice(("Keep everything as it is.", "Change nothing.")), scene, scene, ())


EDITS: Mapping[str, Callable[[Scene, random.Random], Edit]] = {
    "recolour": _recolour,
    "reshape": _reshape,
    "retexture": _retexture,
    "remove": _remove,
    "add": _add,
    "background": _background,
    "style": _style,
    "motion": _motion,
    "camera": _camera,
    "keep": _keep,
}
"""Kind -> how an edit of it is made."""

OF_CLIPS_ONLY = frozenset({"motion", "camera"})
"""Kinds that a still cannot show."""
