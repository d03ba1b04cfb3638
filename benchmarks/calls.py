"""How often a run calls its parts: 50 steps of an edit with cascaded guidance, with small models, through the pipeline.

The DiT has the released one's 30 blocks, so that its counts are those of a real run; only its widths are small. The
prompt is read by the built-in MLLM.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import torch
from torch import Tensor, nn

from loom_core import pipeline
from loom_core.bundle import BUILT_IN, find_model
from loom_core.compute import Compute
from loom_core.config.model import DiTConfig
from loom_core.config.sampling import SamplingConfig
from loom_core.geometry import latent_shape
from loom_core.models import rope
from loom_core.models.block import LoomBlock
from loom_core.models.dit import LoomDiT
from loom_core.request import Plan, Request
from loom_core.sampling.denoise import denoise, initial_noise
from loom_core.sampling.guidance import guided_velocity
from loom_core.sampling.schedule import schedule_for
from loom_core.sampling.solvers import get_solver
from loom_core.types import Branch, Clip, Condition, Reference, Task

from .registry import Benchmark
from .report import Comparison, Figure
from .twin import random_model
from .workloads import Workload, random_condition

CONFIG = DiTConfig(
    hidden_size=24, num_heads=2, head_dim=12, num_layers=30, ffn_dim=48, in_channels=4, out_channels=4,
    time_embed_dim=16, mllm_dim=16,
)  # fmt: skip
STEPS = 50
SIZE = 64  # pixels
FRAMES = 5
SCALES = {"edit": (1.5, 2.5), "no_visual": (1.0, 2.5), "equal": (2.5, 2.5), "none": (1.0, 1.0)}
"""Visual and text guidance of which the branches are counted."""


def edit_plan(*, steps: int = STEPS) -> Plan:
    """An edit of a clip by a reference; its files are never opened."""
    return Plan(
        request=Request(prompt="make it red", source=Path("source.mp4"), references=(Path("reference.png"),)),
        task=Task.REFERENCE_EDIT,
        width=SIZE,
        height=SIZE,
        num_frames=FRAMES,
        fps=24.0,
        sampling=SamplingConfig(num_inference_steps=steps, guidance_scale=2.5, visual_guidance_scale=1.5),
    )


def edit_conditions(config: DiTConfig) -> dict[Branch, Condition]:
    """Conditions of all branches of `edit_plan`."""
    shape = latent_shape(FRAMES, SIZE, SIZE)
    sizes = Workload(name="calls", config=config, target=shape, context_tokens=5)
    full = random_condition(sizes, device="cpu", dtype=torch.float32, generator=torch.Generator().manual_seed(0))
    still = Reference(cast("Tensor", full.source_latents)[:, :1])
    visual = Condition(full.mllm_hidden_states, full.source_latents, (still,))
    return {Branch.FULL: visual, Branch.VISUAL: visual, Branch.UNCONDITIONAL: Condition(full.mllm_hidden_states)}


@contextmanager
def counted(model: LoomDiT) -> Iterator[Counter[str]]:
    """Counts calls of a DiT's parts while it is open: "projector", "keys_values", "forward" and "rope"."""
    calls: Counter[str] = Counter()

    def count(name: str) -> Callable[..., None]:
        return lambda *_: calls.update((name,))

    def table(*arguments: Any, **options: Any) -> Any:
        calls.update(("rope",))
        return original(*arguments, **options)

    original = rope.rope_table
    parts: dict[str, list[nn.Module]] = {
        "projector": [model.mllm_embedder],
        "keys_values": [cast("LoomBlock", block).cross_attn.k for block in model.blocks],
        "forward": [model],
    }
    handles = [part.register_forward_hook(count(name)) for name, found in parts.items() for part in found]
    try:
        with patch.object(rope, "rope_table", table):
            yield calls
    finally:
        for handle in handles:
            handle.remove()


def run_prepared(model: LoomDiT, plan: Plan, conditions: Mapping[Branch, Condition]) -> Tensor:
    """As the pipeline runs it."""
    prepared = pipeline.prepare_branches(plan, conditions, model=model, compute=Compute())
    return pipeline.sample(plan, prepared, model=model, compute=Compute())


def run_unprepared(model: LoomDiT, plan: Plan, conditions: Mapping[Branch, Condition]) -> Tensor:
    """The same run, every forward pass of which prepares its conditions anew."""
    shape = latent_shape(plan.num_frames, plan.height, plan.width)
    size = (1, model.config.in_channels, shape.frames, shape.height, shape.width)
    lists = {branch: [condition] for branch, condition in conditions.items()}
    return denoise(
        guided_velocity(model, lists, pipeline.weights_of(plan), dtype=torch.float32),
        initial_noise(size, seed=plan.request.seed),
        schedule=schedule_for(plan.sampling, num_tokens=shape.tokens),
        solver=get_solver(plan.sampling.solver),
    )


def vision_tower_calls() -> tuple[int, int]:
    """Calls of the vision tower for an edit of three branches: one prompt after another alone, and as `encode` does."""
    encoder = pipeline.load_encoder(
        find_model(), config=find_model(BUILT_IN).dit_config(), compute=Compute(), max_frames=4
    )
    calls: list[int] = []
    encoder.model.visual.register_forward_hook(lambda *_: calls.append(1))
    frames = torch.zeros(FRAMES, SIZE, SIZE, 3, dtype=torch.uint8)
    source = Clip(frames, 24.0)
    encoder.encode(Task.EDIT_VIDEO, "make it red", negative_prompt="", source=source)
    together = len(calls)
    calls.clear()
    for branch in Branch:
        encoder.encode(Task.EDIT_VIDEO, "make it red", negative_prompt="", source=source, branches=(branch,))
    encoder.release()
    return len(calls), together


def measure() -> Iterator[Comparison]:
    """All counts."""
    conditions_text = f"{STEPS} steps, three branches, a source and a reference, a DiT of {CONFIG.num_layers} blocks"
    shape = latent_shape(FRAMES, SIZE, SIZE)
    model = random_model(Workload(name="calls", config=CONFIG, target=shape, context_tokens=5))
    plan, conditions = edit_plan(), edit_conditions(CONFIG)
    found = []
    for run in (run_unprepared, run_prepared):
        with counted(model) as calls:
            run(model, plan, conditions)
        found.append(calls)
    titles = {
        "projector": "calls of the projector",
        "keys_values": "times that a block's keys and values of a context are made",
        "rope": "rotary tables of a target or a reference that are made",
        "forward": "forward passes",
    }
    for name, title in titles.items():
        yield Comparison(
            key=f"calls_{name}",
            title=f"{title} in a video",
            first=Figure("prepared in every forward", found[0][name]),
            second=Figure("the pipeline", found[1][name]),
            unit="calls",
            conditions=conditions_text,
        )
    alone, together = vision_tower_calls()
    yield Comparison(
        key="calls_vision_tower",
        title="calls of the vision tower in a video",
        first=Figure("each branch's prompt alone", alone),
        second=Figure("the pipeline", together),
        unit="calls",
        conditions="the built-in MLLM, three branches, a source",
    )
    for key, (visual, text) in SCALES.items():
        scales = replace(plan.sampling, num_inference_steps=1, guidance_scale=text, visual_guidance_scale=visual)
        with counted(model) as calls:
            run_prepared(model, replace(plan, sampling=scales), conditions)
        yield Comparison(
            key=f"calls_branches_{key}",
            title=f"forward passes a step at visual guidance {visual:g} and text guidance {text:g}",
            first=Figure("all branches", len(Branch)),
            second=Figure("the pipeline", calls["forward"]),
            unit="passes",
            conditions="a source and a reference",
        )


BENCHMARK = Benchmark(
    about="how often a run calls its parts: projector, keys and values, rotary tables, vision tower, branches",
    seconds=10,
    measure=measure,
)
