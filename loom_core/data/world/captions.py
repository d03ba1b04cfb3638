"""Words for scenes: exact captions, and names for things and backgrounds."""

from __future__ import annotations

import random

from .scene import Background, Scene, Thing

_STYLE_SENTENCES = {
    "black and white": "It is black and white.",
    "warm": "The colours are warm.",
    "cold": "The colours are cold.",
    "dark": "It is dark.",
    "negative": "The colours are inverted.",
}


def with_article(words: str) -> str:
    """Words with "a" or "an" before them."""
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def looks(thing: Thing, *, with_size: bool = True) -> str:
    """A thing by its looks: "large red striped square"."""
    words = [thing.size] if with_size else []
    words += [thing.colour] if thing.colour else []
    words += [thing.texture] if thing.texture != "plain" else []
    return " ".join([*words, thing.shape])


def where(place: str) -> str:
    """A place as a phrase: "at the top left"."""
    return "in the middle" if place == "middle" else f"at the {place}"


def backdrop(background: Background) -> str:
    """A background by its looks: "plain grey"."""
    return f"{background.pattern} {background.tone}"


def name_of(thing: Thing, scene: Scene, chance: random.Random) -> str:
    """One of the names that mean this thing and no other: "the square", "the red square", "the red thing"."""
    names = [f"the {thing.shape}", f"the {thing.shape}"]
    if thing.colour:
        names.append(f"the {thing.colour} {thing.shape}")
        if sum(other.colour == thing.colour for other in scene.things) == 1:
            names.append(f"the {thing.colour} thing")
    return chance.choice(names)


def sentence(thing: Thing, *, moving: bool, chance: random.Random) -> str:
    """One sentence on a thing: looks, place, motion."""
    subject = f"{with_article(looks(thing))} {where(thing.place)}"
    if not moving:
        return f"{subject}.".capitalize()
    if chance.randrange(2):
        subject = f"{with_article(looks(thing))} {thing.motion} {where(thing.place)}"
        return f"{subject}.".capitalize()
    return f"{subject} {thing.motion}.".capitalize()


def caption(scene: Scene, *, num_frames: int, chance: random.Random) -> str:
    """All of a scene in words; what cannot be seen in a still is not told of one."""
    moving = num_frames > 1
    things = list(scene.things)
    chance.shuffle(things)
    sentences = [sentence(thing, moving=moving, chance=chance) for thing in things]
    sentences.append(f"The background is {backdrop(scene.background)}.")
    if moving and scene.camera != "stays still":
        sentences.append(f"The camera {scene.camera}.")
    if scene.style != "none":
        sentences.append(_STYLE_SENTENCES[scene.style])
    return " ".join(sentences)
