"""A step with streamed weights against one with all weights there: `python -m benchmarks.streaming`, a few minutes.

On a CPU, where copies are plain ones that nothing runs beside: time shows what they cost at most, peak what is saved.
Writes benchmarks/results/streaming.json. See docs/performance.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from loom_core.models.dit import LoomDiT
from loom_core.models.lockstep import LockstepDiT
from loom_core.offload.blocks import streamed, tensors_of

from .live_memory import peak_live_bytes
from .report import Comparison, Figure, write_results
from .timing import median, ratio_spread, take_turns
from .twin import GIGA, Run, make_run, random_model
from .workloads import TWIN_IMAGE, TWIN_VIDEO, Workload

RESULTS = Path(__file__).resolve().parent / "results" / "streaming.json"
ROUNDS = 3
BRANCHES = 3
CPU = torch.device("cpu")


def step(model: LoomDiT, run: Run, *, together: bool) -> list[Tensor]:
    """Three branches of the same sizes, in lockstep or one after another."""
    if together:
        return LockstepDiT(model).together(run.latents, run.timestep, [run.prepared] * BRANCHES)
    return [model(run.latents, run.timestep, run.prepared) for _ in range(BRANCHES)]


def with_streaming(model: LoomDiT, run: Run, *, together: bool = True) -> tuple[list[Tensor], int]:
    """A step with all blocks streamed, and the bytes that were moved for it."""
    with streamed(model, "blocks", device=CPU, count=len(model.blocks)) as blocks:
        return step(model, run, together=together), blocks.bytes_moved


def _compared(key: str, title: str, figures: tuple[Figure, Figure], workload: Workload) -> Comparison:
    first, second = figures
    conditions = f"quarter-size twin, CPU, float32, {BRANCHES} branches; {workload.sizes()}"
    return Comparison(key=key, title=title, first=first, second=second, unit="GB", conditions=conditions)


@torch.no_grad()
def measure(workload: Workload, name: str) -> Iterator[Comparison]:
    """Peak, bytes moved and processor time of a step."""
    torch.set_num_threads(1)
    model = random_model(workload)
    run = make_run(model, workload)
    weights = sum(tensor.nbytes for tensor in tensors_of(model))
    blocks = sum(tensor.nbytes for tensor in tensors_of(model.blocks))
    calls: dict[str, Callable[[], object]] = {
        "all weights there": lambda: step(model, run, together=False),
        "streamed": lambda: with_streaming(model, run),
    }
    first, second = calls
    peaks = [peak_live_bytes(call) for call in calls.values()]
    # a device has all weights in the one way, what is not in a block in the other; the slots are in the count
    there = Figure(first, (weights + peaks[0]) / GIGA), Figure(second, (weights - blocks + peaks[1]) / GIGA)
    yield _compared(f"peak_{name}", f"peak of weights and live tensors of a step, {name}", there, workload)
    moved = [with_streaming(model, run, together=together)[1] / GIGA for together in (False, True)]
    apart, lockstep = Figure("branches one after another", moved[0]), Figure("in lockstep", moved[1])
    yield _compared(f"moved_{name}", f"weights moved by one step, {name}", (apart, lockstep), workload)
    seconds = take_turns(calls, rounds=ROUNDS)
    yield Comparison(
        key=f"time_{name}",
        title=f"processor time of a step, {name}",
        first=Figure(first, median(seconds[first])),
        second=Figure(second, median(seconds[second])),
        unit="s",
        conditions=f"quarter-size twin, CPU, float32, {BRANCHES} branches; 1 thread, in turns, median of {ROUNDS}",
        spread=ratio_spread(seconds[first], seconds[second]),
    )


def main() -> None:
    """Run, print, write."""
    comparisons: list[Comparison] = []
    for workload, name in ((TWIN_IMAGE, "image"), (TWIN_VIDEO, "video")):
        for comparison in measure(workload, name):
            print(comparison.line(), flush=True)
            comparisons.append(comparison)
    write_results(RESULTS, comparisons, notes=["Copies of a CPU are not beside its work: times are the worst case."])


if __name__ == "__main__":
    main()
