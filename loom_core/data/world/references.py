"""What references can show: a colour, a texture, a shape, a background; and requests that name them `@Image N`."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from torch import Tensor

from .captions import backdrop, begun, name_of, with_article
from .chance import random_background, random_colour, random_thing
from .edits import Ask, with_thing
from .render import pictures, silhouette, swatch, texture_sample
from .scene import SIDE, Background, Scene, Thing
from .words import ROUND_SHAPES, SHAPES, TEXTURES

PARTS = ("colour", "texture", "shape", "background")
"""What a reference can give."""


@dataclass(frozen=True)
class Reference:
    """What one reference shows.

    Args:
        part: Of `PARTS`.
        thing: Whose colour, texture or shape it is.
        background: For the part "background".
    """

    part: str
    thing: Thing | None = None
    background: Background | None = None

    def picture(self, *, width: int = SIDE, height: int = SIDE) -> Tensor:
        """uint8 [1, height, width, 3]: a plain colour, a grey texture, a white silhouette, or a background."""
        if self.background is not None:
            return pictures(Scene((), self.background), num_frames=1, width=width, height=height)
        assert self.thing is not None
        if self.part == "colour":
            return swatch(self.thing.rgb, width=width, height=height)
        if self.part == "texture":
            return texture_sample(self.thing.texture, width=width, height=height)
        return silhouette(self.thing.shape, width=width, height=height)


@dataclass(frozen=True)
class ReferenceRequest:
    """A request whose answer needs its references.

    Args:
        instruction: In words; names each reference as `@Image N`.
        before: What is edited; None to make something new.
        after: What is asked for.
        asks: What to look at.
        references: In the order of `@Image 1`, `@Image 2` ...
    """

    instruction: str
    before: Scene | None
    after: Scene
    asks: tuple[Ask, ...]
    references: tuple[Reference, ...]


def _parts(count: int, chance: random.Random) -> list[str]:
    return chance.sample(PARTS, count)


_EDIT_TEXTS = {
    "colour": ("Paint {} in the colour of @Image {}.", "Give {} the colour of @Image {}."),
    "texture": ("Give {} the texture of @Image {}.",),
    "shape": ("Give {} the shape of @Image {}.",),
    "background": ("Use the background of @Image {}.", "Put it on the background of @Image {}."),
}


def reference_edit(scene: Scene, *, count: int, chance: random.Random) -> ReferenceRequest:
    """Edit one thing of a scene, its background, or both, by `count` references.

    Args:
        scene: What is edited.
        count: 1 to 4.
        chance: Source of chance.
    """
    index = chance.randrange(len(scene.things))
    thing, name = scene.things[index], name_of(scene.things[index], scene, chance)
    parts = _parts(count, chance)
    changed, background = thing, scene.background
    if "colour" in parts:
        colour, rgb = random_colour(chance, other_than=(thing.colour,))
        changed = replace(changed, colour=colour, rgb=rgb)
    if "texture" in parts:
        hidden = ("plain",) if thing.motion == "spins" else ()
        changed = replace(changed, texture=_other(TEXTURES, chance, thing.texture, *hidden))
    if "shape" in parts:
        taken = {other.shape for other in scene.things}
        round_ones = tuple(ROUND_SHAPES) if thing.motion == "spins" and changed.texture == "plain" else ()
        changed = replace(changed, shape=_other(SHAPES, chance, *taken, *round_ones))
    if "background" in parts:
        while (background.tone, background.pattern) == (scene.background.tone, scene.background.pattern):
            background = random_background(chance)
    after = replace(with_thing(scene, index, changed), background=background)
    sentences = [chance.choice(_EDIT_TEXTS[part]) for part in parts]
    numbers = chance.sample(range(1, count + 1), count)  # the order of the words need not be that of the pictures
    told = [
        text.format(number) if part == "background" else text.format(name, number)
        for text, part, number in zip(sentences, parts, numbers, strict=True)
    ]
    return ReferenceRequest(
        " ".join(told), scene, after, _asks(parts, numbers, index), _ordered(parts, numbers, changed, background)
    )


def reference_scene(*, count: int, moving: bool, chance: random.Random) -> ReferenceRequest:
    """A new scene of one thing, some of whose parts are shown by `count` references and the others told.

    Args:
        count: 1 to 4.
        moving: Whether its motion is told.
        chance: Source of chance.
    """
    thing = random_thing(chance)
    background = random_background(chance)
    parts = _parts(count, chance)
    numbers = chance.sample(range(1, count + 1), count)
    number = dict(zip(parts, numbers, strict=True))
    told = [thing.size]
    told += [thing.colour] if "colour" not in number else []
    told += [thing.texture] if "texture" not in number and thing.texture != "plain" else []
    told += [thing.shape if "shape" not in number else "thing"]
    shown = [f"the {part} of @Image {number[part]}" for part in parts if part != "background"]
    subject = with_article(" ".join(told)) + (f" with {' and '.join(shown)}" if shown else "")
    action = f" {thing.motion}" if moving else ""
    setting = f"that of @Image {number['background']}" if "background" in number else backdrop(background)
    text = f"{subject}{action}. The background is {setting}."
    return ReferenceRequest(
        begun(text),
        None,
        Scene((thing,), background),
        _asks(parts, numbers, 0),
        _ordered(parts, numbers, thing, background),
    )


def _other(names: tuple[str, ...], chance: random.Random, *not_these: str) -> str:
    return chance.choice([name for name in names if name not in not_these])


def _asks(parts: list[str], numbers: list[int], index: int) -> tuple[Ask, ...]:
    return tuple(
        Ask(part, None if part == "background" else index, number) for part, number in zip(parts, numbers, strict=True)
    )


def _ordered(parts: list[str], numbers: list[int], thing: Thing, background: Background) -> tuple[Reference, ...]:
    by_number = {
        number: Reference(part, background=background) if part == "background" else Reference(part, thing=thing)
        for part, number in zip(parts, numbers, strict=True)
    }
    return tuple(by_number[number] for number in sorted(by_number))
