"""The formulas of the MLLM against live tensors while small ones read prompts on the CPU."""

import json
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch

from benchmarks.live_memory import peak_live_bytes
from loom_core.config.model import LOOM_TINY
from loom_core.mllm.encoder import QwenEncoder
from loom_core.mllm.loading import build_empty
from loom_core.mllm.streaming import streamed_layers
from loom_core.mllm.tokens import load_tokenizer, vision_spans
from loom_core.planning.plan import PROMPT, Measures, Setting, phase_of
from loom_core.planning.run import CHAT_TOKENS, RunSizes
from loom_core.planning.sizes import FORMATS, MLLMSizes, ModelSizes
from loom_core.types import Branch, Clip, Task

pytest.importorskip("transformers", reason="Qwen3-VL comes from transformers")

CPU = torch.device("cpu")
TEXT = "make the boat red and the sky of a very dark blue"
NEGATIVE = "blurry, low quality"
DEEP = {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 6}
SEEING = {"hidden_size": 192, "intermediate_size": 384}


def still(run):
    return Clip(torch.randint(0, 256, (1, run.height, run.width, 3), dtype=torch.uint8), 0.0, is_image=True)


def pictures_of(run):
    """Source and references."""
    source = None
    if run.has_source:
        frames = torch.randint(0, 256, (run.num_frames, run.height, run.width, 3), dtype=torch.uint8)
        source = Clip(frames, 24.0) if run.num_frames > 1 else still(run)
    return source, [still(run) for _ in range(run.num_references)]


def task_of(run):
    if run.has_source:
        return Task.REFERENCE_EDIT if run.num_references else Task.EDIT_VIDEO
    return Task.REFERENCE_TO_VIDEO if run.num_references else Task.TEXT_TO_VIDEO


def filled_model(values, dtype):
    """A model of a configuration with random weights."""
    model = build_empty(values)
    for module in model.modules():
        for name, weight in module.named_parameters(recurse=False):
            drawn = torch.nn.Parameter(0.02 * torch.randn(weight.shape, dtype=dtype), requires_grad=False)
            setattr(module, name, drawn)
    return model.eval()


@pytest.fixture(scope="module")
def prompt_peaks(golden_dir):
    """(measured, predicted) most bytes that reading all prompts of a run makes."""
    folder = golden_dir / "models" / "tiny" / "qwen"
    tokenizer = load_tokenizer(folder)

    def measure(run, *, num_blocks=2, dtype=torch.float32, text=None, vision=None, streams=False):
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        values["text_config"] |= text or {}
        values["vision_config"] |= {"out_hidden_size": values["text_config"]["hidden_size"], **(vision or {})}
        encoder = QwenEncoder(filled_model(values, dtype), tokenizer, num_blocks=num_blocks)
        source, references = pictures_of(run)
        encoded = []

        def read():
            encoded.append(
                encoder.encode(task_of(run), TEXT, negative_prompt=NEGATIVE, references=references, source=source)
            )

        with streamed_layers(encoder.model, CPU) if streams else nullcontext():
            measured = peak_live_bytes(read)  # without the slots, which were there before
        lengths = {branch: len(states[0]) for branch, states in encoded[0].by_branch.items()}
        assert list(lengths) == list(run.branches)
        full = encoder.reader.full(task_of(run), TEXT, references=references, source=source)
        assert run.seen.patches == sum(len(picture.pixels) for picture in (*full.images, *full.videos))
        if run.has_visual:
            spans = vision_spans(full.input_ids.tolist(), special=tokenizer.special)
            assert len(spans) == run.branches[Branch.VISUAL] - CHAT_TOKENS

        model = ModelSizes(dit=replace(LOOM_TINY, num_layers=num_blocks), mllm=MLLMSizes.from_config(values))
        form = FORMATS["fp32" if dtype == torch.float32 else "bf16"]
        setting = Setting(run=replace(run, contexts=lengths), model=model, form=form, on_gpu=False)
        return measured, phase_of(PROMPT, setting, Measures(streams_mllm=streams)).new

    return measure


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("sizes", "given"),
    [
        ({"num_frames": 9}, {"num_blocks": 5}),
        ({"num_frames": 9, "has_source": True}, {}),
        ({"num_frames": 1, "has_source": True}, {}),
        ({"num_frames": 9, "num_references": 2}, {}),
        ({"num_frames": 17, "has_source": True, "num_references": 1, "width": 160, "height": 128}, {}),
        (
            {"num_frames": 33, "has_source": True, "num_references": 2, "width": 256, "height": 192},
            {"text": DEEP, "num_blocks": 5},
        ),
        ({"num_frames": 33, "has_source": True, "width": 256, "height": 192}, {"vision": SEEING}),
        ({"num_frames": 9, "has_source": True}, {"streams": True}),
    ],
)
def test_within_a_tenth_of_what_is_alive(prompt_peaks, sizes, given, dtype):
    run = RunSizes(**{"width": 96, "height": 64, **sizes})
    measured, predicted = prompt_peaks(run, dtype=dtype, **given)
    assert predicted == pytest.approx(measured, rel=0.1)
