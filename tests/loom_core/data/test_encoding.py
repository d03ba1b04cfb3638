"""Samples through the codec: which parts, what the MLLM gets."""

from __future__ import annotations

import pytest
import torch

from loom_core.data.encoding import encode_sample, thinned
from loom_core.data.sample import Sample
from loom_core.data.tasks import training_task
from loom_core.types import Clip


def clip(level, frames=9, size=64):
    return Clip(torch.full((frames, size, size, 3), level, dtype=torch.uint8), 24.0 if frames > 1 else 0.0, frames == 1)


def edit(frames=9):
    return Sample(
        key="a",
        task=training_task("reference-edit"),
        instruction="swap",
        target=clip(255, frames),
        source=clip(0, frames),
        references=(clip(51, 1), clip(102, 1, 32)),
    )


def test_every_part_is_encoded(codec):
    encoded = encode_sample(edit(), codec, dtype=torch.float32)
    assert encoded.target.shape == (3, 3, 4, 4)
    assert encoded.target.unique().tolist() == [1.0]
    assert encoded.source.unique().tolist() == [-1.0]
    assert [tuple(latents.shape) for latents in encoded.references] == [(3, 1, 4, 4), (3, 1, 2, 2)]
    assert [latents.mean().item() for latents in encoded.references] == pytest.approx([-0.6, -0.2], abs=1e-5)
    assert (encoded.key, encoded.instruction, encoded.seed) == ("a", "swap", 0)
    assert (encoded.target_tokens, encoded.reference_tokens, encoded.shift_tokens) == (12, 5, 17)


def test_number_format(codec):
    encoded = encode_sample(edit(), codec)
    assert {latents.dtype for latents in (encoded.target, encoded.source, *encoded.references)} == {torch.bfloat16}


def test_the_mllm_gets_thinned_frames(codec):
    sample = edit(frames=33)
    encoded = encode_sample(sample, codec)
    assert encoded.mllm_source.num_frames == 2
    assert encoded.mllm_source.fps == 24.0
    assert encoded.mllm_references == sample.references
    numbers = torch.arange(121, dtype=torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 32, 32, 3)
    assert thinned(Clip(numbers, 24.0)).frames[:, 0, 0, 0].tolist() == [0, 17, 34, 51, 68, 85, 102, 120]


def test_what_is_switched_off_is_not_made(codec):
    encoded = encode_sample(edit(), codec, source_to_mllm=False, source_to_dit=False)
    assert encoded.source is None
    assert encoded.mllm_source is None
    assert codec.calls == 3


def test_a_reconstruction_is_encoded_once(codec):
    picture = clip(200)
    sample = Sample(key="a", task=training_task("reconstruct-video"), instruction="", target=picture, source=clip(200))
    encoded = encode_sample(sample, codec)
    assert encoded.source is encoded.target
    assert codec.calls == 1


def test_no_gradients(codec):
    weight = torch.ones((), requires_grad=True)
    encode = codec.encode
    codec.encode = lambda pixels, **kwargs: encode(pixels) * weight
    assert not encode_sample(edit(), codec).target.requires_grad
