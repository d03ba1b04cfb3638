"""What each bundled workflow is to make on the built-in model, as scenes of the world, so that the judge can tell."""

from __future__ import annotations

from dataclasses import replace

from loom_core.data.tasks import training_task
from loom_core.data.world.edits import Ask, with_thing
from loom_core.data.world.samples import Request
from loom_core.data.world.scene import Background, Scene, Thing
from loom_core.data.world.words import COLOURS, TONES
from scripts.make_demo_media import shapes_scene

SHAPES = shapes_scene()
SQUARE = 0


def thing(shape, colour, place="middle", **more):
    return Thing(shape, colour, COLOURS[colour], place=place, **more)


def new(task, instruction, tone, things, *asks):
    """A new scene; the looks of its things are asked for even where no reference shows them."""
    every = [Ask(attribute, index) for index in range(len(things)) for attribute in ("colour", "shape")]
    shown = {(ask.attribute, ask.thing) for ask in asks}
    told = [ask for ask in every if (ask.attribute, ask.thing) not in shown]
    scene = Scene(tuple(things), Background(tone, TONES[tone]))
    return Request(training_task(task), "generate", instruction, None, scene, (*asks, *told, Ask("background")))


def edit(task, instruction, *asks, after):
    return Request(training_task(task), "edit", instruction, SHAPES, after, asks)


def on(tone, pattern="plain"):
    return replace(SHAPES, background=Background(tone, TONES[tone], pattern))


def square(**changes):
    if "colour" in changes:
        changes["rgb"] = COLOURS[changes["colour"]]
    return with_thing(SHAPES, SQUARE, replace(SHAPES.things[SQUARE], **changes))


ANSWERS = {
    "text_to_video": new(
        "text-to-video",
        "A large red star moves right. The background is plain navy.",
        "navy",
        [thing("star", "red", motion="moves right")],
        Ask("motion", 0),
    ),
    "text_to_image": new(
        "text-to-image",
        "A large yellow star. Below and right of it a small blue square. The background is plain maroon.",
        "maroon",
        [thing("star", "yellow", "top left"), thing("square", "blue", "middle", size="small")],
    ),
    "image_edit": edit(
        "edit-image",
        "Make the blue square red.",
        Ask("colour", SQUARE),
        after=square(colour="red"),
    ),
    "video_edit": edit(
        "edit-video",
        "Make the blue square green.",
        Ask("colour", SQUARE),
        after=square(colour="green"),
    ),
    "reference_edit": edit(
        "reference-edit",
        "Use the background of @Image 1.",
        Ask("background", reference=1),
        after=on("maroon", "striped"),
    ),
    "references_to_video": new(
        "reference-to-video",
        "A large thing with the shape of @Image 1 and the colour of @Image 2 moves up. The background is plain navy.",
        "navy",
        [thing("star", "orange", motion="moves up")],
        Ask("shape", 0, 1),
        Ask("colour", 0, 2),
        Ask("motion", 0),
    ),
    "reference_to_image": new(
        "reference-to-image",
        "A large purple thing with the shape of @Image 1. The background is plain grey.",
        "grey",
        [thing("star", "purple")],
        Ask("shape", 0, 1),
    ),
    "fashion_try_on": edit(
        "reference-edit",
        "Give the square the shape of @Image 1. Paint the square in the colour of @Image 2.",
        Ask("shape", SQUARE, 1),
        Ask("colour", SQUARE, 2),
        after=square(shape="star", colour="orange"),
    ),
    "low_memory_edit": edit(
        "edit-video",
        "Make the background plain navy.",
        Ask("background"),
        after=on("navy"),
    ),
}
"""By workflow; the long clip is none of the world."""

OBEYED = ("image_edit", "video_edit", "reference_edit", "low_memory_edit", "reference_to_image")
"""Those that the built-in model obeys by now."""
