"""Damage to a right answer that nobody asked for: one fault each, as a scene."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace

from ..data.world.chance import free_places, random_thing
from ..data.world.edits import with_thing
from ..data.world.samples import Request
from ..data.world.scene import Scene
from ..data.world.words import PATTERNS, SIZES, TONES
from .alternatives import other_looks
from .fitting import free_things

Fault = Callable[[Request, random.Random], Scene | None]
"""Makes the wrong answer's scene; None where the request has no room for this fault."""

STEP = 8.0
"""Pixels, of a picture 128 wide, by which a thing is moved."""


def extra_thing(request: Request, chance: random.Random) -> Scene | None:
    """A thing more, where there is room for one."""
    scene = request.after
    if not free_places(scene.things):
        return None
    return replace(scene, things=(*scene.things, random_thing(chance, scene.things)))


def other_tone(request: Request, chance: random.Random) -> Scene:
    """A background of another tone in the same pattern."""
    background = request.after.background
    tone = chance.choice([tone for tone in TONES if tone != background.tone])
    return replace(request.after, background=replace(background, tone=tone, rgb=TONES[tone]))


def other_thing_recoloured(request: Request, chance: random.Random) -> Scene | None:
    """Another colour of a thing that nothing was asked of."""
    return _looking_otherwise(request, _other_thing(request, chance), "colour", chance)


def other_thing_moved(request: Request, chance: random.Random) -> Scene | None:
    """A thing that nothing was asked of, 8 pixels up, down or aside; of an edit, since words leave the place open."""
    index = _other_thing(request, chance)
    if index is None or request.before is None:
        return None
    thing = request.after.things[index]
    x, y = chance.choice(((STEP, 0.0), (-STEP, 0.0), (0.0, STEP), (0.0, -STEP)))
    return with_thing(request.after, index, replace(thing, offset=(thing.offset[0] + x, thing.offset[1] + y)))


def other_pattern(request: Request, chance: random.Random) -> Scene | None:
    """A background in another pattern, where nothing was asked of it."""
    if any(ask.attribute == "background" for ask in request.asks):
        return None
    background = request.after.background
    pattern = chance.choice([pattern for pattern in PATTERNS if pattern != background.pattern])
    return replace(request.after, background=replace(background, pattern=pattern))


def other_thing_reshaped(request: Request, chance: random.Random) -> Scene | None:
    """Another shape of a thing that nothing was asked of."""
    return _looking_otherwise(request, _other_thing(request, chance), "shape", chance)


def other_thing_retextured(request: Request, chance: random.Random) -> Scene | None:
    """Another texture of a thing that nothing was asked of."""
    return _looking_otherwise(request, _other_thing(request, chance), "texture", chance)


def other_thing_resized(request: Request, chance: random.Random) -> Scene | None:
    """The other size of a thing that nothing was asked of."""
    return _looking_otherwise(request, _other_thing(request, chance), "size", chance)


def asked_thing_reshaped(request: Request, chance: random.Random) -> Scene | None:
    """Another shape of a thing of which another look was asked: a recoloured square became a circle."""
    looks = {ask.thing for ask in request.asks if ask.attribute in ("colour", "texture", "motion")}
    shapes = {ask.thing for ask in request.asks if ask.attribute in ("shape", "presence")}
    things = sorted(index for index in looks - shapes if index is not None)
    return _looking_otherwise(request, chance.choice(things) if things else None, "shape", chance)


def _looking_otherwise(request: Request, index: int | None, attribute: str, chance: random.Random) -> Scene | None:
    if index is None:
        return None
    _, thing = chance.choice(other_looks(request.after.things[index], attribute))
    return with_thing(request.after, index, thing)


def other_side(request: Request, chance: random.Random) -> Scene | None:
    """The thing that words place beside another, "left of it", at another free place: right of it, or farther off."""
    *others, last = request.after.things
    if not others or len(others) not in free_things(request):
        return None
    places = [place for place in free_places(tuple(others)) if place != last.place]
    if not places:
        return None
    return with_thing(request.after, len(others), replace(last, place=chance.choice(places)))


def wrong_size(request: Request, chance: random.Random) -> Scene | None:
    """A thing that words describe, "small", in the other size."""
    free = free_things(request)
    if not free:
        return None
    index = chance.choice(free)
    thing = request.after.things[index]
    size = chance.choice([size for size in SIZES if size != thing.size])
    return with_thing(request.after, index, replace(thing, size=size))


def _other_thing(request: Request, chance: random.Random) -> int | None:
    asked = {ask.thing for ask in request.asks if ask.attribute != "absence"}
    others = [index for index in range(len(request.after.things)) if index not in asked]
    return chance.choice(others) if others else None


FAULTS: Mapping[str, Fault] = {
    "a thing more": extra_thing,
    "another background": other_tone,
    "another thing recoloured": other_thing_recoloured,
    "another thing moved": other_thing_moved,
    "another thing reshaped": other_thing_reshaped,
    "another thing retextured": other_thing_retextured,
    "another thing resized": other_thing_resized,
    "an asked thing reshaped": asked_thing_reshaped,
    "another pattern": other_pattern,
    "on another side": other_side,
    "wrong size": wrong_size,
}
"""Name -> what makes it."""
