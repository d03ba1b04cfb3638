"""Words for scenes: exact captions, and names for things and backgrounds."""

from __future__ import annotations

import random

from .relations import relation_of
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


def begun(sentence: str) -> str:
    """A sentence with a capital letter at its beginning; the others stay as they are."""
    return sentence[0].upper() + sentence[1:]


def looks(thing: Thing, *, with_size: bool = True) -> str:
    """A thing by its looks: "large red striped square"."""
    words = [thing.size] if with_size else []
    words += [thing.colour] if thing.colour else []
    words += [thing.texture] if thing.texture != "plain" else []
    return " ".join([*words, thing.shape])


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


def caption(scene: Scene, *, num_frames: int) -> str:
    """All of a scene of one or two things in words; what cannot be seen in a still is not told of one.

    No place is named: a model whose positions are relative cannot know one. The second thing is told by where it is
    beside the first, see `chance.arranged`.
    """
    moving = num_frames > 1
    first, *others = scene.things
    sentences = [_sentence(with_article(looks(first)), first, moving=moving)]
    for other in others:
        relation = relation_of(other.place, first.place)
        assert relation is not None
        sentences.append(_sentence(f"{relation} it {with_article(looks(other))}", other, moving=moving))
    sentences.append(f"The background is {backdrop(scene.background)}.")
    if moving and scene.camera != "stays still":
        sentences.append(f"The camera {scene.camera}.")
    if scene.style != "none":
        sentences.append(_STYLE_SENTENCES[scene.style])
    return " ".join(sentences)


def _sentence(subject: str, thing: Thing, *, moving: bool) -> str:
    return begun(f"{subject} {thing.motion}." if moving else f"{subject}.")
