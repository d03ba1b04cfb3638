"""The local judge: two words' probabilities from the head of the MLLM that is loaded anyway."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from loom_core.bundle import BUILT_IN
from loom_core.errors import WeightsError
from loom_core.mllm.encoder import QwenEncoder
from loom_core.rl.rewards import mllm_judge
from loom_core.rl.rewards.mllm_judge import MLLMJudge, question, word_rows
from loom_core.types import Clip

MLLM = BUILT_IN / "mllm"


@pytest.fixture(scope="module")
def encoder():
    return QwenEncoder.load(MLLM, num_blocks=2, dtype=torch.float32, device=torch.device("cpu"))


@pytest.fixture
def frames():
    return torch.randint(256, (5, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_the_probability_is_that_of_the_next_word(encoder, frames, make_outcome):
    """Against all words' logits, from the model's own last state."""
    outcome = make_outcome(frames, source=frames.flip(0))
    (found,) = MLLMJudge.of(encoder, MLLM)([outcome])
    prompt = encoder.reader.read(question(outcome))
    with torch.no_grad():
        last = encoder.model.language_model.norm(encoder.hidden_states_of_all([prompt])[0][-1][-1])
        chances = (encoder.model.language_model.embed_tokens.weight @ last).softmax(dim=0)
    words = {word: encoder.tokenizer.text_ids(word)[0] for word in ("Yes", "yes", "No", "no")}
    yes, no = (sum(float(chances[words[word]]) for word in pair) for pair in (("Yes", "yes"), ("No", "no")))
    assert float(found) == pytest.approx(yes / (yes + no), rel=1e-4)


def test_what_is_shown_and_asked(frames, make_outcome):
    edit = question(make_outcome(frames, source=frames))
    assert [type(item) for item in edit] == [Clip, Clip, str]
    assert "result of this instruction: Be one." in edit[-1]
    generated = question(make_outcome(frames[:1], task="text-to-image"))
    assert [type(item) for item in generated] == [Clip, str]
    assert generated[0].is_image
    assert "This is to show: Be one." in generated[-1]
    outcome = make_outcome(frames)
    references = (Clip(frames[:1], 0.0, is_image=True),) * 2
    referenced = question(replace(outcome, sample=replace(outcome.sample, mllm_references=references)))
    assert [type(item) for item in referenced] == [Clip, Clip, Clip, str]
    assert "names the pictures before it" in referenced[-1]


def test_weights_without_a_head(encoder, monkeypatch):
    monkeypatch.setattr(mllm_judge, "_HEADS", ("somewhere.else",))
    with pytest.raises(WeightsError, match="without a head"):
        word_rows(MLLM, encoder)
