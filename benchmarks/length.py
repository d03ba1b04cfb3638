"""Scale-and-Add against concatenating the source, over the length of the clip."""

from __future__ import annotations

from collections.abc import Iterator

from loom_core.config.model import LOOMVIDEO_5B, QUARTER_TWIN
from loom_core.geometry import LatentShape
from loom_core.types import Branch

from .concatenation import concatenated_flops
from .flops import forward_flops
from .registry import Benchmark
from .report import Comparison, Figure
from .timing import median, ratio_spread, take_turns
from .twin import make_run, random_model
from .workloads import Workload, edit

FRAMES = (1, 5, 17, 33, 49, 65, 81, 97, 121, 161, 241)
SIZES = {"480p": (832, 480), "720p": (1280, 704)}
TWIN_FRAMES = (1, 5, 10)
"""Latent frames; `twin` has the ratio at 21."""
TERA, GIGA = 1e12, 1e9
ROUNDS = 3


def _full_size() -> Iterator[Comparison]:
    for key, (width, height) in SIZES.items():
        for frames in FRAMES:
            name = f"edit {width}x{height}, {frames} frames"
            workload = edit(name, LOOMVIDEO_5B, width=width, height=height, num_frames=frames)[Branch.FULL]
            yield Comparison(
                key=f"length_{key}_{frames}",
                title=f"FLOPs of one forward by how the source enters, {name}",
                first=Figure("source tokens concatenated", concatenated_flops(workload) / TERA),
                second=Figure("Scale-and-Add", forward_flops(workload) / TERA),
                unit="TFLOP",
                conditions=f"released 5B sizes, closed formula, contexts prepared once in both; {workload.sizes()}",
            )


def twin_workload(frames: int) -> Workload:
    """An edit with the twin, of so many latent frames."""
    shape = LatentShape(frames, 14, 28)
    return Workload(name=f"{frames} latent frames", config=QUARTER_TWIN, target=shape, context_tokens=216)


def _timed() -> Iterator[Comparison]:
    model = random_model(twin_workload(1))
    for frames in TWIN_FRAMES:
        workload = twin_workload(frames)
        added, concatenated = make_run(model, workload), make_run(model, workload, concatenated=True)
        seconds = take_turns({"concatenated": concatenated.whole, "added": added.cached}, rounds=ROUNDS)
        conditions = f"quarter-size twin, CPU, float32; {workload.sizes()}"
        yield Comparison(
            key=f"length_twin_flops_{frames}",
            title=f"FLOPs of one forward by how the source enters, {frames} latent frames",
            first=Figure("source tokens concatenated", concatenated_flops(workload) / GIGA),
            second=Figure("Scale-and-Add", forward_flops(workload) / GIGA),
            unit="GFLOP",
            conditions=f"{conditions}; closed formula",
        )
        yield Comparison(
            key=f"length_twin_time_{frames}",
            title=f"processor time of one forward by how the source enters, {frames} latent frames",
            first=Figure("source tokens concatenated", median(seconds["concatenated"])),
            second=Figure("Scale-and-Add", median(seconds["added"])),
            unit="s",
            conditions=f"{conditions}; 1 thread, in turns, median of {ROUNDS}",
            spread=ratio_spread(seconds["concatenated"], seconds["added"]),
        )


def measure() -> Iterator[Comparison]:
    """The formula at full size, which `full_size` holds against the counter; then time on the twin."""
    yield from _full_size()
    yield from _timed()


BENCHMARK = Benchmark(
    about="Scale-and-Add against concatenating the source, over the length of the clip",
    seconds=15,
    measure=measure,
)
