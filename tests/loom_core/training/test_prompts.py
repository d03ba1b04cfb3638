"""Prompts of a pack, in batches, equal ones once."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from loom_core.training.prompts import PromptBatches, batches
from loom_core.types import Clip


class Encoder:
    """Stands in for the MLLM: the state of a prompt is its content."""

    def __init__(self):
        self.batches = []
        self.reader = SimpleNamespace(read=self.read)

    def read(self, content):
        return SimpleNamespace(
            input_ids=torch.zeros(1 + sum(len(item) for item in content if isinstance(item, str))), content=content
        )

    def hidden_states_of_all(self, prompts):
        self.batches.append(len(prompts))
        return [(prompt.content,) for prompt in prompts]


def test_states_come_in_the_order_of_the_prompts():
    encoder = Encoder()
    contents = [("long " * 20,), ("a",), (), ("medium one",)]
    assert PromptBatches(encoder)(contents) == [(content,) for content in contents]
    assert encoder.batches == [4]


def test_equal_texts_are_read_once_pictures_each_time():
    encoder = Encoder()
    picture = Clip(torch.zeros(1, 32, 32, 3, dtype=torch.uint8), 0.0, is_image=True)
    contents = [(), ("a",), (), ("a",), ("a", picture), ("a", picture)]
    states = PromptBatches(encoder)(contents)
    assert encoder.batches == [4]
    assert states == [(content,) for content in contents]


def test_a_batch_is_bounded():
    encoder = Encoder()
    PromptBatches(encoder, most_tokens=30)([(letter * 9,) for letter in "abcdefg"])
    assert encoder.batches == [3, 3, 1]


@pytest.mark.parametrize(
    ("lengths", "most", "expected"),
    [
        ([], 10, []),
        ([50], 10, [[0]]),
        ([5, 1, 5, 1], 10, [[1, 3], [0, 2]]),
        ([3, 3, 3, 9], 9, [[0, 1, 2], [3]]),
    ],
)
def test_like_lengths_go_together(lengths, most, expected):
    assert list(batches(lengths, most)) == expected
