"""Prompts in one batch have the states that they have alone."""

from __future__ import annotations

import pytest
import torch

from loom_core.bundle import BUILT_IN
from loom_core.mllm.batch import batch_prompts
from loom_core.mllm.encoder import QwenEncoder
from loom_core.types import Clip


@pytest.fixture(scope="module")
def encoder():
    return QwenEncoder.load(BUILT_IN / "mllm", num_blocks=4, dtype=torch.float32, device=torch.device("cpu"))


def picture(frames, side=64):
    generator = torch.Generator().manual_seed(frames)
    values = torch.randint(0, 256, (frames, side, side, 3), generator=generator, dtype=torch.uint8)
    return Clip(values, 24.0, is_image=frames == 1)


@pytest.fixture(scope="module")
def prompts(encoder):
    read = encoder.reader.read
    return [
        read(["Generate a video: a red square."]),
        read(["Edit this video: ", picture(9), picture(1, side=96), "make it blue"]),
        read([picture(1), "a"]),
        read([""]),
    ]


def test_each_prompt_has_the_states_that_it_has_alone(encoder, prompts):
    together = encoder.hidden_states_of_all(prompts)
    for prompt, states in zip(prompts, together, strict=True):
        for layer, alone in zip(states, encoder.hidden_states(prompt), strict=True):
            assert layer.shape == alone.shape == (len(prompt.input_ids), encoder.hidden_size)
            torch.testing.assert_close(layer, alone, atol=2e-5, rtol=1e-5)


def test_padding_and_pictures(encoder, prompts):
    batch = batch_prompts(prompts, pad_id=encoder.tokenizer.special.im_end)
    assert batch.lengths == tuple(len(prompt.input_ids) for prompt in prompts)
    assert batch.attention_mask.sum(dim=1).tolist() == list(batch.lengths)
    assert batch.input_ids.shape == (4, max(batch.lengths))
    assert (batch.input_ids[batch.attention_mask == 0] == encoder.tokenizer.special.im_end).all()
    assert len(batch.pictures["image_grid_thw"]) == 2
    assert len(batch.pictures["video_grid_thw"]) == 1


def test_only_words(encoder, prompts):
    assert batch_prompts(prompts[:1], pad_id=0).pictures == {}
