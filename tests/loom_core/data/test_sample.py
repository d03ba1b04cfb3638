"""Tokens of encoded samples, and the error about one."""

from __future__ import annotations

import pytest
import torch

from loom_core.data.sample import EncodedSample, SampleError
from loom_core.data.tasks import training_task
from loom_core.geometry import latent_shape


def encoded(num_frames, height, width, references=()):
    def latents(frames, rows, columns):
        shape = latent_shape(frames, rows, columns)
        return torch.zeros(48, shape.frames, shape.height, shape.width)

    return EncodedSample(
        key="a",
        task=training_task("text-to-video"),
        instruction="",
        target=latents(num_frames, height, width),
        references=tuple(latents(1, *size) for size in references),
    )


@pytest.mark.parametrize(
    ("sample", "target", "references"),
    [
        (encoded(33, 256, 256), 576, 0),
        (encoded(121, 480, 832), 12_090, 0),
        (encoded(97, 480, 832, [(480, 832), (640, 640)]), 9_750, 390 + 400),
        (encoded(1, 480, 832), 390, 0),
    ],
)
def test_tokens(sample, target, references):
    """The numbers of the official configurations."""
    assert (sample.target_tokens, sample.reference_tokens) == (target, references)
    assert sample.shift_tokens == target + references


def test_an_error_names_its_sample():
    error = SampleError("cats/1.mp4", "missing caption")
    assert str(error) == "cats/1.mp4: missing caption"
    assert (error.key, error.reason) == ("cats/1.mp4", "missing caption")
