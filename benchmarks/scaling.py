"""How the work grows with references, frames, size and batch, against the closed formula.

FLOPs are counted on the meta device at full size and must equal the formula to the last digit. Time is that of the
twin; the formula says what it should grow by.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from loom_core.config.model import LOOMVIDEO_5B, QUARTER_TWIN
from loom_core.geometry import LatentShape
from loom_core.models.dit import LoomDiT
from loom_core.types import Branch

from .flash_operations import FlashOperations
from .flops import count_flops, forward_flops
from .full_size import DTYPE, count_workload
from .registry import Benchmark
from .report import Comparison, Figure
from .timing import median, ratio_spread, take_turns
from .twin import make_run, random_model
from .workloads import Workload, edit, random_condition

REFERENCES = (0, 1, 2, 4)
FRAMES = (17, 41, 81, 121)
SIZES = ((640, 352), (832, 480), (1280, 704))
BATCHES = (1, 2, 4)
TERA = 1e12
ROUNDS = 3

TWIN = Workload(name="video edit on the twin", config=QUARTER_TWIN, target=LatentShape(5, 14, 28), context_tokens=216)
"""A clip short enough to be timed many times."""
TWINS = {
    "references": replace(TWIN, references=(LatentShape(1, 14, 28),) * 4),
    "frames": replace(TWIN, target=LatentShape(10, 14, 28)),
    "size": replace(TWIN, target=LatentShape(5, 28, 28)),
}
"""What grows, each against `TWIN`."""


def full_workloads() -> dict[str, Workload]:
    """Full branches of edits with the released model, by key."""

    def full(width: int, height: int, num_frames: int, num_references: int) -> Workload:
        name = f"video edit {width}x{height}, {num_frames} frames, {num_references} references"
        branches = edit(
            name, LOOMVIDEO_5B, width=width, height=height, num_frames=num_frames, num_references=num_references
        )
        return branches[Branch.FULL]

    return {
        **{f"references_{count}": full(832, 480, 81, count) for count in REFERENCES},
        **{f"frames_{frames}": full(832, 480, frames, 0) for frames in FRAMES},
        **{f"size_{width}x{height}": full(width, height, 81, 0) for width, height in SIZES},
    }


def count_batch(model: LoomDiT, workload: Workload, size: int) -> int:
    """FLOPs of one forward pass of several samples of a workload.

    Args:
        model: On the meta device.
        workload: Of each sample.
        size: Samples.
    """
    shape = workload.target
    conditions = [random_condition(workload, device="meta", dtype=DTYPE) for _ in range(size)]
    latents = torch.empty(
        (size, workload.config.in_channels, shape.frames, shape.height, shape.width), device="meta", dtype=DTYPE
    )
    with torch.no_grad():
        prepared = model.prepare(conditions, latents)
    return count_flops(lambda: model(latents, torch.full((size,), 500.0, device="meta"), prepared))


def _counted() -> Iterator[Comparison]:
    model = LoomDiT(LOOMVIDEO_5B, operations=FlashOperations, device="meta", dtype=DTYPE).requires_grad_(False)
    workloads = full_workloads()
    counts = {key: (count_workload(model, one).forward, forward_flops(one), one) for key, one in workloads.items()}
    small = workloads[f"frames_{FRAMES[0]}"]
    counts |= {f"batch_{n}": (count_batch(model, small, n), n * forward_flops(small), small) for n in BATCHES}
    for key, (counted, formula, workload) in counts.items():
        yield Comparison(
            key=f"scaling_{key}",
            title=f"FLOPs of one forward, {workload.name}, {key.replace('_', ' ')}",
            first=Figure("counted", counted / TERA),
            second=Figure("closed formula", formula / TERA),
            unit="TFLOP",
            conditions=f"released 5B sizes on meta; {workload.sizes()}; full branch, prepared once",
        )


def _timed() -> Iterator[Comparison]:
    model = random_model(TWIN)
    base = make_run(model, TWIN)
    for key, workload in TWINS.items():
        larger, growth = make_run(model, workload), forward_flops(workload) / forward_flops(TWIN)
        seconds = take_turns({"larger": larger.cached, "base": base.cached}, rounds=ROUNDS)
        yield Comparison(
            key=f"scaling_time_{key}",
            title=f"processor time of one forward by {key}; FLOPs {growth:.2f} x",
            first=Figure(f"more {key}", median(seconds["larger"])),
            second=Figure("the base", median(seconds["base"])),
            unit="s",
            conditions=f"quarter-size twin, CPU, float32, 1 thread, in turns, median of {ROUNDS}; {workload.sizes()} "
            f"against {TWIN.sizes()}",
            spread=ratio_spread(seconds["larger"], seconds["base"]),
        )


def measure() -> Iterator[Comparison]:
    """Counts, then times."""
    yield from _counted()
    yield from _timed()


BENCHMARK = Benchmark(
    about="how work grows with references, frames, size and batch, against the closed formula",
    seconds=25,
    measure=measure,
)
