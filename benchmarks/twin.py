"""Processor time, counts and live memory on the quarter-size twin, which a CPU can run.

float32 and one thread: bfloat16 is slow on processors without such arithmetic and says nothing about a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from loom_core.models.dit import LoomDiT, PreparedConditions
from loom_core.types import Condition

from .concatenation import concatenate_source, forward_whole
from .flops import count_flops
from .live_memory import peak_live_bytes
from .registry import Benchmark
from .report import Comparison, Figure
from .row_per_token import forward_row_per_token
from .timing import median, ratio_spread, take_turns
from .workloads import TWIN_IMAGE, TWIN_VIDEO, Workload, random_condition

VIDEO_ROUNDS = 5
IMAGE_ROUNDS = 11
GIGA = 1e9
DTYPE = torch.float32


@dataclass(frozen=True)
class Run:
    """A model with everything that its forward pass takes."""

    model: LoomDiT
    condition: Condition
    latents: Tensor
    timestep: Tensor
    prepared: PreparedConditions

    def cached(self) -> Tensor:
        """One forward pass, prepared before."""
        return self.model(self.latents, self.timestep, self.prepared)

    def whole(self) -> Tensor:
        """The same with all tokens in all of the last block."""
        return forward_whole(self.model, self.latents, self.timestep, self.prepared)

    def uncached(self) -> Tensor:
        """One forward pass that prepares first."""
        return self.model(self.latents, self.timestep, self.model.prepare([self.condition], self.latents))

    def uncached_row_per_token(self) -> Tensor:
        """One forward pass that prepares first and has a modulation row a token, as the official code does both."""
        prepared = self.model.prepare([self.condition], self.latents)
        return forward_row_per_token(self.model, self.latents, self.timestep, prepared)

    def row_per_token(self) -> Tensor:
        """One forward pass with a modulation row a token."""
        return forward_row_per_token(self.model, self.latents, self.timestep, self.prepared)


def random_model(workload: Workload) -> LoomDiT:
    """A model of the workload's sizes with small random weights everywhere, so that no part computes with zeros."""
    generator = torch.Generator().manual_seed(0)
    model = LoomDiT(workload.config, device="meta", dtype=DTYPE).to_empty(device="cpu").requires_grad_(False).eval()
    for parameter in model.parameters():
        parameter.normal_(std=0.02, generator=generator)
    return model


def make_run(model: LoomDiT, workload: Workload, *, concatenated: bool = False) -> Run:
    """Random inputs of a workload, and what `model` prepares from them."""
    generator = torch.Generator().manual_seed(1)
    condition = random_condition(workload, device="cpu", dtype=DTYPE, generator=generator)
    if concatenated:
        condition = concatenate_source(condition)
    shape = workload.target
    size = (1, workload.config.in_channels, shape.frames, shape.height, shape.width)
    latents = torch.randn(size, generator=generator)
    with torch.no_grad():
        prepared = model.prepare([condition], latents)
    return Run(model, condition, latents, torch.tensor([500.0]), prepared)


def _timed(
    first: tuple[str, Callable[[], Tensor]],
    second: tuple[str, Callable[[], Tensor]],
    *,
    key: str,
    title: str,
    workload: Workload,
    rounds: int,
) -> Iterator[Comparison]:
    """FLOPs and processor time of two calls."""
    conditions = f"quarter-size twin, CPU, float32; {workload.sizes()}"
    flops = [count_flops(function) / GIGA for _, function in (first, second)]
    yield Comparison(
        key=f"twin_flops_{key}",
        title=f"FLOPs, {title}",
        first=Figure(first[0], flops[0]),
        second=Figure(second[0], flops[1]),
        unit="GFLOP",
        conditions=conditions,
    )
    seconds = take_turns(dict((first, second)), rounds=rounds)
    yield Comparison(
        key=f"twin_time_{key}",
        title=f"processor time, {title}",
        first=Figure(first[0], median(seconds[first[0]])),
        second=Figure(second[0], median(seconds[second[0]])),
        unit="s",
        conditions=f"{conditions}; 1 thread, in turns, median of {rounds}",
        spread=ratio_spread(seconds[first[0]], seconds[second[0]]),
    )


def measure() -> Iterator[Comparison]:
    """All comparisons on the twin."""
    model = random_model(TWIN_VIDEO)
    video, image = make_run(model, TWIN_VIDEO), make_run(model, TWIN_IMAGE)
    concatenated = make_run(model, TWIN_VIDEO, concatenated=True)

    yield from _timed(
        ("source tokens concatenated", concatenated.whole),
        ("Scale-and-Add", video.cached),
        key="concatenated",
        title="one forward, video edit, by how the source enters; prepared once in both",
        workload=TWIN_VIDEO,
        rounds=VIDEO_ROUNDS,
    )
    for run, workload, name, rounds in (
        (video, TWIN_VIDEO, "video", VIDEO_ROUNDS),
        (image, TWIN_IMAGE, "image", IMAGE_ROUNDS),
    ):
        others = {
            "uncached": ("prepared in every forward", run.uncached),
            "row_per_token": ("a modulation row a token", run.row_per_token),
            "uncached_row_per_token": ("prepared in every forward and a row a token", run.uncached_row_per_token),
        }
        for key, first in others.items():
            yield from _timed(
                first,
                ("prepared once, two rows", run.cached),
                key=f"{key}_{name}",
                title=f"one forward, {name} edit",
                workload=workload,
                rounds=rounds,
            )
    yield Comparison(
        key="twin_live_memory",
        title="peak of live tensors in one forward, video edit",
        first=Figure("a modulation row a token", peak_live_bytes(video.row_per_token) / GIGA),
        second=Figure("two rows", peak_live_bytes(video.cached) / GIGA),
        unit="GB",
        conditions=f"quarter-size twin, CPU, float32; {TWIN_VIDEO.sizes()}; weights, prepared conditions not counted",
    )


BENCHMARK = Benchmark(
    about="time of one forward pass of the quarter-size twin: the source, what is prepared, rows of modulation",
    seconds=130,
    measure=measure,
)
