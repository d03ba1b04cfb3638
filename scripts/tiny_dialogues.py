"""What loom-tiny's MLLM is trained on: dialogues about the procedural world, and what their last tokens must say.

- Requests exactly as the DiT's are written (prefix, source, references, instruction; in either order), answered by a
  terse description of the right result, so that the states hold what was asked of what; of an edit it says where each
  thing is, of what is made anew only where a second thing is beside the first, as the request does.
- "Describe this." of a clip or a picture.
- Questions on one attribute.

Slots are the same as a form: for each shape whether it is there, its colour, texture ..., before and after. A DiT never
sees the answer, so whatever it has to know of a request must stand in the states of the request itself.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from loom_core.data.dropout import prompt_content
from loom_core.data.encoding import thinned
from loom_core.data.sample import EncodedSample, Sample
from loom_core.data.world.relations import relation_of
from loom_core.data.world.samples import Request, WorldSettings, make_sample
from loom_core.data.world.scene import Scene, Thing
from loom_core.data.world.words import (
    CAMERAS,
    COLOURS,
    MOTIONS,
    PATTERNS,
    PLACES,
    SHAPES,
    SIZES,
    STYLES,
    TEXTURES,
    TONES,
)
from loom_core.types import Clip

SEED = 1
TASKS = {
    "text-to-video": 1.0, "text-to-image": 1.0, "edit-video": 3.0, "edit-image": 1.5, "reference-edit": 2.0,
    "reference-to-video": 1.0, "reference-to-image": 1.0,
}  # fmt: skip
REQUESTS, DESCRIPTIONS = 0.6, 0.8  # bounds of the shares; the rest are questions
INFERENCE_ORDER = 0.75  # share of the requests whose parts stand as they do at inference
ASKED = WorldSettings(seed=SEED, frames=(5, 9, 17), tasks=TASKS)
SHOWN = replace(ASKED, tasks={"text-to-video": 1.0, "text-to-image": 1.0})
IGNORED = -100
"""Of a label: nothing to be learned here."""


@dataclass(frozen=True)
class Dialogue:
    """What is said and shown, the answer, and which word of each of `SLOTS` is right before and after."""

    content: Sequence[str | Clip]
    answer: str
    slots: Sequence[int]


def _slots_of_scene() -> list[tuple[str, Sequence[str]]]:
    """What can be asked of a scene, and the words for it."""
    of_things = [
        (f"{shape} {name}", words)
        for shape in SHAPES
        for name, words in (
            ("presence", ("absent", "present")), ("colour", tuple(COLOURS)), ("texture", TEXTURES),
            ("size", tuple(SIZES)), ("place", tuple(PLACES)), ("motion", MOTIONS),
        )
    ]  # fmt: skip
    return [*of_things, ("tone", tuple(TONES)), ("pattern", PATTERNS), ("style", STYLES), ("camera", CAMERAS)]


SLOTS = _slots_of_scene()


def scene_slots(scene: Scene | None, *, moving: bool, placed: bool = True) -> list[int]:
    """Which word of each of `SLOTS` is right, `IGNORED` where none is.

    Args:
        scene: None if there is none.
        moving: Whether motions can be seen.
        placed: Whether places can be known.
    """
    if scene is None:
        return [IGNORED] * len(SLOTS)
    said = {"tone": scene.background.tone, "pattern": scene.background.pattern, "style": scene.style}
    if moving:
        said["camera"] = scene.camera
    for shape in SHAPES:
        said[f"{shape} presence"] = "absent"
    for thing in scene.things:
        parts = {"presence": "present", "colour": thing.colour, "texture": thing.texture, "size": thing.size}
        parts |= {"place": thing.place} if placed else {}
        parts |= {"motion": thing.motion} if moving else {}
        said |= {f"{thing.shape} {name}": word for name, word in parts.items()}
    return [words.index(said[name]) if name in said else IGNORED for name, words in SLOTS]


def describe_thing(thing: Thing, *, moving: bool, placed: bool = True) -> str:
    """A thing in as few words as tell it apart."""
    texture = "" if thing.texture == "plain" else f" {thing.texture}"
    place = f" {thing.place}" if placed else ""
    motion = f" {thing.motion}" if moving else ""
    return f"{thing.size} {thing.colour}{texture} {thing.shape}{place}{motion}"


def describe(scene: Scene, *, moving: bool) -> str:
    """A scene that is seen in as few words as tell it apart, things in order of their shape's name."""
    things = sorted(scene.things, key=lambda thing: thing.shape)
    return _described(scene, [describe_thing(thing, moving=moving) for thing in things], moving=moving)


def describe_new(scene: Scene, *, moving: bool) -> str:
    """A scene that is to be made, without a place: the second thing is told by where it is beside the first."""
    first, *others = scene.things
    things = [describe_thing(first, moving=moving, placed=False)]
    for other in others:
        beside = relation_of(other.place, first.place)
        things.append(f"{beside} it {describe_thing(other, moving=moving, placed=False)}")
    return _described(scene, things, moving=moving)


def _described(scene: Scene, things: Sequence[str], *, moving: bool) -> str:
    style = "" if scene.style == "none" else f" {scene.style}."
    camera = f" camera {scene.camera}." if moving and scene.camera != "stays still" else ""
    return f" {', '.join(things)}. {scene.background.pattern} {scene.background.tone}.{style}{camera}"


def question(scene: Scene, *, moving: bool, chance: random.Random) -> tuple[str, str]:
    """A question on one attribute, and its answer."""
    thing = chance.choice(scene.things)
    asked = [
        (f"What colour is the {thing.shape}?", thing.colour),
        (f"Where is the {thing.shape}?", thing.place),
        (f"What texture has the {thing.shape}?", thing.texture),
        (f"How large is the {thing.shape}?", thing.size),
        ("What is the background?", f"{scene.background.pattern} {scene.background.tone}"),
        ("How many things are there?", ("one", "two", "three")[len(scene.things) - 1]),
    ]
    if sum(other.colour == thing.colour for other in scene.things) == 1:
        asked.append((f"Which shape is {thing.colour}?", thing.shape))
    if moving:
        asked.append((f"What does the {thing.shape} do?", thing.motion))
    text, answer = chance.choice(asked)
    return text, f" {answer}"


def request_slots(request: Request) -> list[int]:
    """Slots of what is given, then of the right result."""
    moving = not request.task.is_image
    given = scene_slots(request.before, moving=moving)
    return given + scene_slots(request.after, moving=moving, placed=request.before is not None)


def request_content(shown: Sample, *, inference_order: bool) -> Sequence[str | Clip]:
    """A request as the DiT's prompts are written."""
    read = EncodedSample(
        key=shown.key,
        task=shown.task,
        instruction=shown.instruction,
        target=torch.empty(0),  # is no part of a prompt
        mllm_source=None if shown.source is None else thinned(shown.source),
        mllm_references=shown.references,
    )
    return prompt_content(read, prompt_order="inference" if inference_order else "training")


def make_dialogue(index: int) -> Dialogue:
    """Dialogue `index`, the same at every call."""
    chance = random.Random(f"dialogue {SEED} {index}")
    share = chance.random()
    if share < REQUESTS:
        sample = make_sample(index, ASKED)
        tell = describe_new if sample.request.before is None else describe
        answer = tell(sample.request.after, moving=not sample.request.task.is_image)
        content = request_content(sample.sample, inference_order=chance.random() < INFERENCE_ORDER)
        return Dialogue(content, answer, request_slots(sample.request))
    sample = make_sample(index, SHOWN)
    moving, scene, clip = not sample.request.task.is_image, sample.request.after, sample.sample.target
    text, answer = "Describe this.", describe(scene, moving=moving)
    if share > DESCRIPTIONS and scene.style == "none":
        text, answer = question(scene, moving=moving, chance=chance)
    slots = scene_slots(scene, moving=moving) + scene_slots(None, moving=moving)
    return Dialogue([clip, text] if chance.randrange(2) else [text, clip], answer, slots)
