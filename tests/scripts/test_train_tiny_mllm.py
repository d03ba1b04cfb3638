"""What loom-tiny's MLLM is trained on."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest
import torch

from loom_core.data.dropout import prompt_content
from loom_core.data.encoding import encode_sample
from loom_core.data.world.samples import make_sample
from loom_core.data.world.scene import Background, Scene, Thing
from loom_core.data.world.words import COLOURS, TONES
from loom_core.types import Clip

pytest.importorskip("transformers", reason="the script loads Qwen3-VL, which comes from transformers")


class NoCodec:
    """Latents that say nothing: a prompt has none."""

    def encode(self, pixels):
        return torch.zeros(len(pixels), 1, 1, 2, 2)


@pytest.fixture(scope="module")
def script(repo_root, load_script):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(repo_root / "scripts"))  # it takes over what another script writes
        return load_script("train_tiny_mllm")


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


def test_the_rate_rises_and_falls_to_its_last(script):
    rates = [script.rate(step, 300) for step in range(300)]
    assert rates[0] == script.PEAK_RATE / script.WARM_UP
    assert max(rates) == rates[script.WARM_UP - 1] == script.PEAK_RATE
    assert rates[-1] == pytest.approx(script.LAST_RATE, rel=0.01)
    assert all(later <= earlier for earlier, later in zip(rates[100:], islice(rates, 101, None), strict=False))
