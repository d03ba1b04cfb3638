"""This engine against a small, slow implementation of the same formulas, with the built-in model's trained weights.

That one is float64 numpy, token by token; it is tests/reference/dit.py, loaded by path, for the tests are no package.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loom_core.bundle import BUILT_IN
from loom_core.geometry import LatentShape
from loom_core.models.dit import LoomDiT
from loom_core.types import Condition, Reference
from loom_core.weights.loading import load_dit

from .registry import Benchmark
from .report import Comparison, Figure
from .timing import median, ratio_spread, take_turns
from .workloads import Workload, random_condition

SLOW = Path(__file__).resolve().parents[1] / "tests" / "reference" / "dit.py"
TARGET, REFERENCE = LatentShape(3, 8, 8), LatentShape(1, 8, 8)
CONTEXT = 40
TIMESTEP = 500.0
ROUNDS = 3


def slow_forward() -> Callable[..., Any]:
    """(state dict, config, latents, timestep, condition) -> velocity of one sample, numpy [C, F, H, W]."""
    spec = importlib.util.spec_from_file_location("loom_slow_dit", SLOW)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    forward: Callable[..., Any] = module.forward
    return forward


def in_dtype(condition: Condition, dtype: torch.dtype) -> Condition:
    """A condition whose tensors have another dtype."""
    return replace(
        condition,
        mllm_hidden_states=tuple(states.to(dtype) for states in condition.mllm_hidden_states),
        source_latents=None if condition.source_latents is None else condition.source_latents.to(dtype),
        references=tuple(Reference(one.latents.to(dtype)) for one in condition.references),
    )


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Length of the difference over the length of what is expected."""
    return float((found.double() - expected.double()).norm() / expected.double().norm())


def error_figures(error: float, dtype: torch.dtype) -> tuple[Figure, Figure]:
    """An error beside the rounding of one number in its dtype."""
    return Figure(f"error in {str(dtype).removeprefix('torch.')}", error), Figure(
        "rounding of one number", torch.finfo(dtype).eps
    )


@torch.no_grad()
def measure() -> Iterator[Comparison]:
    """Error in float32 and bfloat16, then time."""
    model: LoomDiT = load_dit(BUILT_IN / "dit.safetensors", dtype=torch.float32).requires_grad_(False)
    workload = Workload(
        name="edit with a reference",
        config=model.config,
        target=TARGET,
        context_tokens=CONTEXT,
        references=(REFERENCE,),
    )
    generator = torch.Generator().manual_seed(1)
    condition = random_condition(workload, device="cpu", dtype=torch.float32, generator=generator)
    latents = torch.randn(1, model.config.in_channels, TARGET.frames, TARGET.height, TARGET.width, generator=generator)
    slow, timestep = slow_forward(), torch.tensor([TIMESTEP])
    conditions = f"the built-in model's weights, random inputs; {workload.sizes()}"
    for dtype in (torch.float32, torch.bfloat16):
        model = model.to(dtype)
        given, inputs = in_dtype(condition, dtype), latents.to(dtype)
        expected = slow(model.state_dict(), model.config, inputs[0].float().numpy(), TIMESTEP, given)
        found = model(inputs, timestep, model.prepare([given], inputs))[0]
        first, second = error_figures(relative_error(found, torch.from_numpy(expected)), dtype)
        yield Comparison(
            key=f"reference_error_{'fp32' if dtype == torch.float32 else 'bf16'}",
            title="relative error of the velocity against the slow implementation in float64, from equal weights",
            first=first,
            second=second,
            unit="relative",
            conditions=conditions,
        )
    model = load_dit(BUILT_IN / "dit.safetensors", dtype=torch.float32).requires_grad_(False)
    state, arrays = model.state_dict(), latents[0].numpy()
    seconds = take_turns(
        {
            "slow": lambda: slow(state, model.config, arrays, TIMESTEP, condition),
            "ours": lambda: model(latents, timestep, model.prepare([condition], latents)),
        },
        rounds=ROUNDS,
    )
    yield Comparison(
        key="reference_time",
        title="processor time of one forward pass, conditions prepared in it",
        first=Figure("slow implementation, float64", median(seconds["slow"])),
        second=Figure("this engine, float32", median(seconds["ours"])),
        unit="s",
        conditions=f"{conditions}; 1 thread, in turns, median of {ROUNDS}",
        spread=ratio_spread(seconds["slow"], seconds["ours"]),
    )


BENCHMARK = Benchmark(
    about="this engine against a small, slow implementation of the same formulas: error and time",
    seconds=2,
    measure=measure,
)
