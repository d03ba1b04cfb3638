"""Dropout of conditions: the outcomes of the official code, one draw at a time."""

from __future__ import annotations

import json
import re

import pytest
import torch

from loom_core.config.sampling import DEFAULT_NEGATIVE_PROMPT
from loom_core.data.dropout import Dropped, conditions_of, draw_dropout, dropped_by, prompt_content
from loom_core.data.sample import EncodedSample
from loom_core.data.tasks import training_task
from loom_core.mllm.reader import PromptReader
from loom_core.mllm.tokens import load_tokenizer
from loom_core.types import Clip, Task

TASK_OF_PROCESSOR = {
    "process_t2v_data": ("text-to-video", "a cat"),
    "process_video_edit_data": ("edit-video", "make it blue"),
    "process_t2v_data_withref": ("reference-to-video", "they walk"),
    "process_video_edit_data_withref": ("reference-edit", "swap"),
    "process_image_edit_data": ("edit-image", "green"),
    "process_t2i_data": ("text-to-image", "a cat"),
}


def clip(frames, height, width):
    return Clip(torch.zeros(frames, height, width, 3, dtype=torch.uint8), 24.0 if frames > 1 else 0.0, frames == 1)


def latents(shape):
    frames = shape[1] if len(shape) == 4 else 1
    return torch.zeros(3, (frames - 1) // 4 + 1, shape[-2] // 16, shape[-1] // 16)


def sample_of(task, instruction, whole):
    """The sample of a golden row that drops nothing."""
    (target,) = whole["target"]
    source = whole["source"][0] if whole["source"] else None
    return EncodedSample(
        key=task,
        task=training_task(task),
        instruction=instruction,
        target=latents(target),
        source=None if source is None else latents(source),
        references=tuple(latents(shape) for shape in whole["refs"]),
        mllm_source=None if source is None else clip(source[1] if len(source) == 4 else 1, *source[-2:]),
        mllm_references=tuple(clip(1, *shape[-2:]) for shape in whole["refs"]),
    )


@pytest.fixture(scope="module")
def reader(golden_dir):
    return PromptReader(load_tokenizer(golden_dir / "models" / "tiny" / "qwen"))


def written(reader, content):
    """A prompt as the golden file writes it: six letters for the tokens of a picture."""
    text = reader.tokenizer.decode(reader.read(content).input_ids.tolist())
    return re.sub(r"(<\|video_pad\|>)+", "V" * 6, re.sub(r"(<\|image_pad\|>)+", "I" * 6, text))


def test_outcomes_equal_the_official_ones(golden_dir, reader):
    golden = json.loads((golden_dir / "training" / "functions.json").read_text())["condition_dropout"]
    rates = {"dropout_all": golden["rates"]["all"], "dropout_text": golden["rates"]["text"]}
    assert set(golden["table"]) == set(TASK_OF_PROCESSOR)
    for processor, rows in golden["table"].items():
        sample = sample_of(*TASK_OF_PROCESSOR[processor], rows["0.9"])
        for draw, row in rows.items():
            left = conditions_of(sample, dropped=dropped_by(float(draw), **rates))
            assert written(reader, left.content) == row["prompt"], (processor, draw)
            sources = [] if left.source is None else [left.source]
            assert [list(latents.shape) for latents in sources] == [list(latents(s).shape) for s in row["source"]]
            assert [list(latents.shape) for latents in left.references] == [list(latents(s).shape) for s in row["refs"]]
            assert sample.shift_tokens == row["num_gen_attention_tokens"]
            assert sample.target_tokens == row["num_attention_tokens"] - row["prompt_tokens"]


@pytest.mark.parametrize(
    ("draw", "expected"),
    [(0.0, Dropped.ALL), (0.0999, Dropped.ALL), (0.1, Dropped.TEXT), (0.2999, Dropped.TEXT), (0.3001, Dropped.NOTHING)],
)
def test_outcomes_exclude_each_other(draw, expected):
    assert dropped_by(draw, dropout_all=0.1, dropout_text=0.2) is expected


def test_rates_of_zero_drop_nothing():
    assert dropped_by(0.0, dropout_all=0.0, dropout_text=0.0) is Dropped.NOTHING


def test_draws_follow_from_the_seed_and_have_the_rates():
    drawn = [draw_dropout(seed, dropout_all=0.1, dropout_text=0.3) for seed in range(4000)]
    assert drawn[:50] == [draw_dropout(seed, dropout_all=0.1, dropout_text=0.3) for seed in range(50)]
    shares = {outcome: drawn.count(outcome) / 4000 for outcome in Dropped}
    assert shares[Dropped.ALL] == pytest.approx(0.1, abs=0.02)
    assert shares[Dropped.TEXT] == pytest.approx(0.3, abs=0.03)


def edit():
    return sample_of(
        "reference-edit", "swap", {"target": [[3, 5, 64, 64]], "source": [[3, 5, 64, 64]], "refs": [[3, 64, 64]]}
    )


def test_stage_1_gives_the_source_to_neither():
    left = conditions_of(edit(), source_to_mllm=False, source_to_dit=False)
    assert left.source is None
    assert len(left.references) == 1
    assert left.content == ("Edit this video with reference images: ", edit_reference(left), "swap")


def edit_reference(left):
    return next(item for item in left.content if isinstance(item, Clip))


def test_switches_are_independent():
    sample = edit()
    assert conditions_of(sample, source_to_mllm=False).source is sample.source
    to_mllm = conditions_of(sample, source_to_dit=False)
    assert to_mllm.source is None
    assert sample.mllm_source in to_mllm.content


def test_neighbouring_texts_are_one():
    sample = sample_of("text-to-image", "a cat", {"target": [[3, 64, 64]], "source": [], "refs": []})
    assert prompt_content(sample) == ("Generate an image: a cat",)
    assert prompt_content(sample, dropped=Dropped.TEXT) == ()


def test_prompts_in_the_order_of_inference_read_as_the_inference_prompt(reader):
    sample = sample_of(
        "reference-edit", "swap it", {"target": [[1, 9, 64, 64]], "source": [[1, 9, 64, 64]], "refs": [[64, 64]]}
    )
    content = prompt_content(sample, prompt_order="inference")
    asked = reader.full(Task.REFERENCE_EDIT, "swap it", references=sample.mllm_references, source=sample.mllm_source)
    assert torch.equal(reader.read(content).input_ids, asked.input_ids)
    assert not torch.equal(reader.read(prompt_content(sample)).input_ids, asked.input_ids)


def test_what_lost_everything_may_read_the_negative_prompt_of_inference(reader):
    sample = sample_of("text-to-image", "a cat", {"target": [[64, 64]], "source": [], "refs": []})
    left = conditions_of(sample, dropped=Dropped.ALL, unconditional_prompt="inference")
    unconditional = reader.negative(DEFAULT_NEGATIVE_PROMPT)
    assert torch.equal(reader.read(left.content).input_ids, unconditional.input_ids)
    kept = conditions_of(sample, unconditional_prompt="inference")
    assert kept.content == ("Generate an image: a cat",)
