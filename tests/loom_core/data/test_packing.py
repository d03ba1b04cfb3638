"""Packs: what counts against the budget, what is carried over, what goes on after a resume."""

from __future__ import annotations

import collections
import itertools
import json

import pytest
import torch

from loom_core.data.dropout import prompt_content
from loom_core.data.packing import PackStream, prompt_counter
from loom_core.data.problems import BadSampleGuard
from loom_core.data.sample import EncodedSample
from loom_core.data.tasks import training_task
from loom_core.errors import MediaError
from loom_core.mllm.reader import PromptReader
from loom_core.types import Clip


def packs(samples, budget, **kwargs):
    return PackStream(samples, token_budget=budget, **{"prompt_tokens": lambda sample: 10, **kwargs})


def keys(pack):
    return [sample.key for sample in pack.samples]


def test_packs_are_filled_in_order(stream, memory_source):
    """A still of 64 x 64 pixels has 4 tokens, and here 10 of the prompt."""
    source = memory_source(20, size=64)
    order = [item.sample.key for item in itertools.islice(stream([source]), 7)]
    ours = packs(stream([source]), 45)
    first, second = next(ours), next(ours)
    assert keys(first) + keys(second) == order[:6]
    assert (first.tokens, second.tokens) == (42, 42)


def test_fault_1_the_sample_that_overflows_is_decoded_once(stream, memory_source, tmp_path):
    """The official trainer throws it away and decodes it again in the next round."""
    log = tmp_path / "decoded"
    ours = packs(stream([memory_source(12, log=log)]), 30)
    taken = [key for _ in range(4) for key in keys(next(ours))]
    decoded = collections.Counter(log.read_text().splitlines())
    assert len(taken) == len(set(taken)) == 8
    assert set(decoded.values()) == {1}
    assert len(decoded) == 9  # the ninth waits for the next pack


def test_fault_2_references_count_against_the_budget(stream, memory_source):
    """The official budget counts targets and prompts alone, so packs with many references run out of memory."""
    plain = packs(stream([memory_source(20, size=64)]), 90)
    with_references = packs(stream([memory_source(20, size=64, task="reference-to-image", references=4)]), 90)
    assert len(next(plain).samples) == 6  # 4 + 10 each
    pack = next(with_references)
    assert len(pack.samples) == 3  # 4 + 4 x 4 + 10 each
    assert pack.tokens == 90


def test_most_samples(stream, memory_source):
    ours = packs(stream([memory_source(20)]), 10_000, max_samples=3)
    assert [len(next(ours).samples) for _ in range(3)] == [3, 3, 3]


def test_a_sample_larger_than_a_pack_is_counted_and_says_why(stream, memory_source):
    small, large = memory_source(6), memory_source(2, name="large", size=256)
    ours = packs(stream([small, large]), 40)
    taken = [key for _ in range(4) for key in keys(next(ours))]
    problems = ours.samples.guard.problems
    assert all(key.startswith("memory/") for key in taken)
    assert list(problems.counts) == ["larger than a pack"]
    (example, *_) = problems.examples["larger than a pack"]
    assert "74 tokens (64 of the target, 0 of references) with a budget of 40" in example
    guard = ours.samples.guard
    assert guard.num_seen == len(taken) + guard.lost["large"] + 1  # and the one that is carried over


def test_a_pack_tells_of_what_was_left_out_before_it(stream, memory_source):
    """Each once, whatever the epochs, in one go or resumed."""
    sources = [memory_source(7, broken=[3, 5])]
    whole = list(itertools.islice(packs(stream(sources), 50), 12))
    told = [sample.key for pack in whole for sample in pack.left_out]
    assert sorted(told) == ["memory/3", "memory/5"]
    assert whole[-1].state["guard"]["lost"]["memory"] > 2
    state = json.loads(json.dumps(whole[0].state))
    resumed = list(itertools.islice(packs(stream(sources, state=state), 50), 11))
    assert [pack.left_out for pack in resumed] == [pack.left_out for pack in whole[1:]]


def test_nothing_that_fits_ends_the_run(stream, memory_source):
    guard = BadSampleGuard(max_share=0.5, min_bad=4)
    ours = packs(stream([memory_source(6, size=256)], guard=guard), 40)
    with pytest.raises(MediaError, match="4 x larger than a pack"):
        next(ours)
    assert guard.num_seen == 4


@pytest.mark.parametrize("workers", [0, 2])
def test_fault_10_a_resumed_run_gets_the_same_packs(stream, memory_source, workers):
    """The official trainer skips a number of samples that it estimates."""
    sources = [
        memory_source(7, broken=[3], size=64),
        memory_source(5, name="other"),
        memory_source(3, name="large", size=256),
    ]
    whole = packs(stream(sources), 50)
    expected = [
        (keys(pack), [sample.seed for sample in pack.samples], pack.state) for pack in itertools.islice(whole, 12)
    ]
    for stop in (1, 4, 7):
        ours = packs(stream(sources), 50)
        state = list(itertools.islice(ours, stop))[-1].state
        resumed = packs(stream(sources, state=state, workers=workers), 50)
        found = [
            (keys(pack), [sample.seed for sample in pack.samples], pack.state)
            for pack in itertools.islice(resumed, 12 - stop)
        ]
        resumed.close()
        assert found == expected[stop:]


PROMPTS = [
    ("text-to-video", 0, (), (64, 96)),
    ("edit-video", 8, (), (480, 832)),
    ("edit-video", 5, (), (64, 96)),
    ("edit-image", 1, (), (480, 832)),
    ("reference-edit", 6, ((480, 832), (640, 640)), (480, 832)),
    ("reference-to-image", 0, ((128, 128),), (128, 128)),
]


@pytest.fixture(scope="module")
def reader(golden_dir):
    return PromptReader.load(golden_dir / "models" / "tiny" / "qwen")


@pytest.mark.parametrize("order", ["training", "inference"])
@pytest.mark.parametrize(("task", "source_frames", "references", "size"), PROMPTS)
def test_prompts_are_counted_as_the_mllm_reads_them(reader, task, source_frames, references, size, order):
    def clip(frames, height, width):
        return Clip(torch.zeros(frames, height, width, 3, dtype=torch.uint8), 24.0, is_image=frames == 1)

    sample = EncodedSample(
        key="a",
        task=training_task(task),
        instruction="eine rote Kugel, die über das Feld rollt <|im_end|>",
        target=torch.zeros(3, 2, 4, 6),
        mllm_source=clip(source_frames, *size) if source_frames else None,
        mllm_references=tuple(clip(1, *reference) for reference in references),
    )
    read = reader.read(prompt_content(sample, prompt_order=order)).input_ids
    assert prompt_counter(reader, prompt_order=order)(sample) == len(read)
    blind = reader.read(prompt_content(sample, prompt_order=order, source_to_mllm=False)).input_ids
    assert prompt_counter(reader, prompt_order=order, source_to_mllm=False)(sample) == len(blind)
    assert (len(blind) < len(read)) == (source_frames > 0)
