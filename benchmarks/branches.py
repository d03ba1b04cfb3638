"""The branches of guidance one after another, and as a batch of one forward pass.

A batch calls each kernel once instead of three times, and needs the memory of all branches at once. Samples of a batch
are padded to the longest: the unconditional branch to the context, and the references, of the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from loom_core.config.model import QUARTER_TWIN
from loom_core.geometry import LatentShape
from loom_core.models.dit import LoomDiT, PreparedConditions
from loom_core.types import Branch, Condition

from .live_memory import peak_live_bytes
from .operator_counts import count_operators
from .registry import Benchmark
from .report import Comparison, Figure
from .timing import median, ratio_spread, take_turns
from .twin import random_model
from .workloads import Workload, context_tokens, random_condition

SHAPES = {"image": LatentShape(1, 14, 14), "video": LatentShape(5, 14, 28)}
ROUNDS = 5
MEGA = 1e6


@dataclass(frozen=True)
class Step:
    """One step of all branches, in both ways.

    Args:
        model: The DiT.
        latents: [1, C, F, H, W], the same for all branches.
        apart: Of each branch.
        together: Of all of them, a sample each.
    """

    model: LoomDiT
    latents: Tensor
    apart: Mapping[Branch, PreparedConditions]
    together: PreparedConditions

    def run_apart(self) -> Tensor:
        """Velocities [branches, C, F, H, W], a forward pass a branch."""
        timestep = torch.tensor([500.0])
        return torch.cat([self.model(self.latents, timestep, prepared) for prepared in self.apart.values()])

    def run_together(self) -> Tensor:
        """The same in one forward pass."""
        count = len(self.apart)
        return self.model(self.latents.expand(count, -1, -1, -1, -1), torch.full((count,), 500.0), self.together)


@torch.no_grad()
def make_step(model: LoomDiT, workload: Workload) -> Step:
    """A step of an edit whose full branch is `workload`; its contexts have the lengths of real prompts."""
    generator = torch.Generator().manual_seed(1)
    conditions: dict[Branch, Condition] = {}
    for branch, length in context_tokens(workload.target, workload.references).items():
        sizes = replace(workload, context_tokens=length)
        if branch is Branch.UNCONDITIONAL:
            sizes = replace(sizes, has_source=False, references=())
        conditions[branch] = random_condition(sizes, device="cpu", dtype=torch.float32, generator=generator)
    shape = workload.target
    latents = torch.randn(1, workload.config.in_channels, shape.frames, shape.height, shape.width, generator=generator)
    apart = {branch: model.prepare([one], latents) for branch, one in conditions.items()}
    batch = latents.expand(len(conditions), -1, -1, -1, -1)
    return Step(model, latents, apart, model.prepare(list(conditions.values()), batch))


def measure() -> Iterator[Comparison]:
    """Kernel calls, time and live memory of one step."""
    model = random_model(workload_of("image"))
    for key in SHAPES:
        workload = workload_of(key)
        step = make_step(model, workload)
        conditions = f"quarter-size twin, CPU, float32, three branches; {workload.sizes()}"
        yield Comparison(
            key=f"branches_kernels_{key}",
            title=f"kernels called in one step, {key} edit",
            first=Figure("a branch after another", count_operators(step.run_apart).kernels),
            second=Figure("a batch", count_operators(step.run_together).kernels),
            unit="calls",
            conditions=conditions,
        )
        yield Comparison(
            key=f"branches_memory_{key}",
            title=f"peak of live tensors in one step, {key} edit",
            first=Figure("a branch after another", peak_live_bytes(step.run_apart) / MEGA),
            second=Figure("a batch", peak_live_bytes(step.run_together) / MEGA),
            unit="MB",
            conditions=conditions,
        )
        seconds = take_turns({"apart": step.run_apart, "together": step.run_together}, rounds=ROUNDS)
        yield Comparison(
            key=f"branches_time_{key}",
            title=f"processor time of one step, {key} edit",
            first=Figure("a branch after another", median(seconds["apart"])),
            second=Figure("a batch", median(seconds["together"])),
            unit="s",
            conditions=f"{conditions}; 1 thread, in turns, median of {ROUNDS}",
            spread=ratio_spread(seconds["apart"], seconds["together"]),
        )


def workload_of(key: str) -> Workload:
    """The full branch of an edit with the twin."""
    shape = SHAPES[key]
    return Workload(
        name=f"{key} edit", config=QUARTER_TWIN, target=shape, context_tokens=context_tokens(shape)[Branch.FULL]
    )


BENCHMARK = Benchmark(
    about="the branches of guidance one after another, and as a batch of one forward pass",
    seconds=20,
    measure=measure,
)
