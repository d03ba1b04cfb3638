"""Prompts token by token, and the states that the DiT reads."""

from __future__ import annotations

import pytest

pytest.importorskip("transformers", reason="Qwen3-VL comes from transformers")


@pytest.mark.parametrize(
    ("case", "name"),
    [
        ("deepstack/text_only", "hidden_states.4"),
        ("deepstack/image_text", "hidden_states.1"),
        ("deepstack/image_text", "pixel_values"),
    ],
)
def test_a_changed_number_is_noticed(recheck, failed, case, name):
    def change(tensors, _about):
        tensors[name].view(-1)[3] += 1e-2

    assert name in failed(recheck(case, change))


@pytest.mark.parametrize("name", ["input_ids", "visual_only_input_ids"])
def test_one_other_token_is_noticed(recheck, failed, name):
    def change(tensors, _about):
        tensors[name].view(-1)[-1] += 1

    assert failed(recheck("visual_only_prompt/mi2v", change)) == [name]


def test_the_same_numbers_pass(recheck):
    for case in ("deepstack/text_only", "deepstack/image_text", "visual_only_prompt/mi2v"):
        assert recheck(case).ok, case
