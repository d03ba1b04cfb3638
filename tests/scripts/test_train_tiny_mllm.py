"""What loom-tiny's MLLM is trained on."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest
import torch

from loom_core.data.dropout import prompt_content
from loom_core.data.encoding import encode_sample
from loom_core.data.world.samples import make_sample
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


def test_the_rate_rises_and_falls_to_its_last(script):
    rates = [script.rate(step, 300) for step in range(300)]
    assert rates[0] == script.PEAK_RATE / script.WARM_UP
    assert max(rates) == rates[script.WARM_UP - 1] == script.PEAK_RATE
    assert rates[-1] == pytest.approx(script.LAST_RATE, rel=0.01)
    assert all(later <= earlier for earlier, later in zip(rates[100:], islice(rates, 101, None), strict=False))
