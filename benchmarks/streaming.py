"""A step with streamed weights against one with all weights there.

On a CPU, where copies are plain ones that nothing runs beside: time shows what they cost at most, peak what is saved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from loom_core.models.dit import LoomDiT
from loom_core.models.lockstep import LockstepDiT
from loom_core.offload.blocks import streamed, tensors_of
from loom_core.weights.convert import convert_checkpoint
from loom_core.weights.detect import CONFIG_KEY, FORMAT, FORMAT_KEY
from loom_core.weights.loading import load_dit
from loom_core.weights.quantise import SCHEMES
from loom_core.weights.saving import entries_of, save_safetensors

from .live_memory import peak_live_bytes
from .registry import Benchmark
from .report import Comparison, Figure
from .timing import median, ratio_spread, take_turns
from .twin import GIGA, Run, make_run, random_model
from .workloads import TWIN_IMAGE, TWIN_VIDEO, Workload

ROUNDS = 2
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


def streamed_bytes(model: LoomDiT, run: Run) -> tuple[int, int]:
    """Of a streamed step: most bytes on a device (live tensors, slots, what is in no block), and bytes moved."""
    moved = []
    outside = sum(tensor.nbytes for tensor in tensors_of(model)) - sum(
        block.nbytes for block in tensors_of(model.blocks)
    )
    peak = peak_live_bytes(lambda: moved.append(with_streaming(model, run)[1]))
    return outside + peak, moved[0]


def in_int8(model: LoomDiT) -> LoomDiT:
    """The same model with its blocks' matrices quantised."""
    with TemporaryDirectory() as name:
        plain, quantised = Path(name) / "plain.safetensors", Path(name) / "int8.safetensors"
        metadata = {FORMAT_KEY: FORMAT, CONFIG_KEY: model.config.to_json()}
        save_safetensors(plain, entries_of(model.state_dict()), metadata=metadata)
        convert_checkpoint(plain, quantised, scheme=SCHEMES["int8"])
        return load_dit(quantised)


def _compared(
    key: str, title: str, figures: tuple[Figure, Figure], workload: Workload, *, dtype: str = "float32"
) -> Comparison:
    first, second = figures
    conditions = f"quarter-size twin, CPU, {dtype}, {BRANCHES} branches; {workload.sizes()}"
    return Comparison(key=key, title=title, first=first, second=second, unit="GB", conditions=conditions)


def _plain(model: LoomDiT, run: Run, workload: Workload, name: str, *, peak: int, moved: int) -> Iterator[Comparison]:
    """Peak, bytes moved and processor time of a step; the first two of the streamed one are known."""
    weights = sum(tensor.nbytes for tensor in tensors_of(model))
    calls: dict[str, Callable[[], object]] = {
        "all weights there": lambda: step(model, run, together=False),
        "streamed": lambda: with_streaming(model, run),
    }
    first, second = calls
    there = Figure(first, (weights + peak_live_bytes(calls[first])) / GIGA)
    less = Figure(second, peak / GIGA)
    yield _compared(f"peak_{name}", f"peak of weights and live tensors of a step, {name}", (there, less), workload)
    apart = Figure("branches one after another", with_streaming(model, run, together=False)[1] / GIGA)
    lockstep = Figure("in lockstep", moved / GIGA)
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


def _quantised(small: tuple[int, int], wide: tuple[int, int], workload: Workload, name: str) -> Iterator[Comparison]:
    """The same streamed step with weights in int8 and in float32: peak and bytes moved."""
    titles = {
        "peak": f"peak of weights and live tensors of a streamed step, {name}",
        "moved": f"weights moved by one step, {name}",
    }
    for (key, title), plain, quantised in zip(titles.items(), wide, small, strict=True):
        figures = Figure("float32", plain / GIGA), Figure("int8", quantised / GIGA)
        yield _compared(f"{key}_int8_{name}", title, figures, workload, dtype="float32, its matrices also in int8")


@torch.no_grad()
def measure() -> Iterator[Comparison]:
    """An edit of an image, then of a clip."""
    for workload, name in ((TWIN_IMAGE, "image"), (TWIN_VIDEO, "video")):
        model = random_model(workload)
        run = make_run(model, workload)
        peak, moved = streamed_bytes(model, run)
        yield from _plain(model, run, workload, name, peak=peak, moved=moved)
        yield from _quantised(streamed_bytes(in_int8(model), run), (peak, moved), workload, name)


BENCHMARK = Benchmark(
    about="a step with streamed weights against one with all weights there, on the quarter-size twin",
    seconds=50,
    measure=measure,
)
