"""What loom-tiny's MLLM is trained on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from loom_core.data.dropout import prompt_content
from loom_core.data.encoding import encode_sample
from loom_core.data.world.edits import EDITS
from loom_core.data.world.samples import make_sample
from loom_core.data.world.scene import Background, Scene, Thing
from loom_core.data.world.words import COLOURS, SHAPES, TONES
from loom_core.types import Clip

OTHER_EDITS = set(EDITS) - {"recolour"}


class NoCodec:
    """Latents that say nothing: a prompt has none."""

    def encode(self, pixels):
        return torch.zeros(len(pixels), 1, 1, 2, 2)


@pytest.fixture(scope="module")
def script(load_script):
    return load_script("tiny_dialogues")


def told(content):
    """A prompt as plain values."""
    return [(item.frames.tolist(), item.fps) if isinstance(item, Clip) else item for item in content]


@pytest.mark.parametrize("inference_order", [True, False])
def test_requests_are_the_prompts_of_the_dit(script, inference_order):
    settings = replace(script.ASKED, size=(64, 64))
    seen = set()
    for index in range(12):
        sample = make_sample(index, settings).sample
        seen.add(sample.task.name)
        prompt = prompt_content(
            encode_sample(sample, NoCodec()), prompt_order="inference" if inference_order else "training"
        )
        assert told(script.request_content(sample, inference_order=inference_order)) == told(prompt)
    assert {"edit-video", "reference-edit"} <= seen


def test_a_dialogue_is_the_same_at_every_call_and_no_two_are_alike(script):
    first, again, other = (script.make_dialogue(index) for index in (3, 3, 4))
    assert told(first.content) == told(again.content)
    assert first.answer == again.answer
    assert told(first.content) != told(other.content)


def test_what_is_seen_is_told_with_its_places_and_what_is_new_beside_its_first_thing(script):
    star = Thing("star", "red", COLOURS["red"], place="right", motion="spins")
    ring = Thing("ring", "blue", COLOURS["blue"], texture="dotted", size="small", place="left")
    scene = Scene((star, ring), Background("navy", TONES["navy"]))
    assert script.describe(scene, moving=False) == " small blue dotted ring left, large red star right. plain navy."
    assert script.describe_new(scene, moving=True) == (
        " large red star spins, left of it small blue dotted ring stays still. plain navy."
    )


def test_no_answer_to_what_is_made_anew_names_a_place(script):
    answers = []
    for index in range(60):
        dialogue = script.make_dialogue(index)
        if any(isinstance(part, str) and part.startswith("Generate") for part in dialogue.content):
            answers.append(dialogue.answer)
    assert len(answers) > 5
    for answer in answers:
        assert not {"top", "bottom", "middle"} & set(answer.replace(",", " ").split())


def test_slots_say_what_is_given_and_what_is_right(script):
    names = [name for name, _ in script.SLOTS]

    def word(slots, name):
        index = slots[names.index(name)]
        return None if index == script.IGNORED else script.SLOTS[names.index(name)][1][index]

    settings = replace(
        script.ASKED, tasks={"edit-image": 1.0}, edits={"recolour": 1.0} | dict.fromkeys(OTHER_EDITS, 0.0)
    )
    request = make_sample(5, settings).request
    slots = script.request_slots(request)
    given, right = slots[: len(names)], slots[len(names) :]
    changed = [(was, now) for was, now in zip(request.before.things, request.after.things, strict=True) if was != now]
    ((was, now),) = changed
    assert word(given, f"{was.shape} colour") == was.colour
    assert word(right, f"{was.shape} colour") == now.colour != was.colour
    assert word(right, f"{was.shape} place") == was.place
    assert word(right, f"{was.shape} motion") is None  # a still shows none
    absent = next(shape for shape in SHAPES if shape not in {thing.shape for thing in request.before.things})
    assert word(given, f"{absent} presence") == "absent"
    assert word(given, f"{absent} colour") is None


def test_of_what_is_made_anew_nothing_is_given_and_no_place_is_right(script):
    request = make_sample(2, replace(script.ASKED, tasks={"text-to-video": 1.0})).request
    slots = script.request_slots(request)
    given, right = slots[: len(script.SLOTS)], slots[len(script.SLOTS) :]
    assert set(given) == {script.IGNORED}
    said = {name: index for (name, _), index in zip(script.SLOTS, right, strict=True) if index != script.IGNORED}
    assert {f"{thing.shape} motion" for thing in request.after.things} <= said.keys()
    assert not any(name.endswith(" place") for name in said)
