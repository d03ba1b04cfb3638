"""Resident memory and time of loading a checkpoint, each way in a process of its own.

`python -m benchmarks.load_memory WAY FILE` loads FILE in one WAY and prints what it took as JSON. Memory is read from
Linux's /proc: peak and current resident bytes, mapped file pages included, over what the imports alone need.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from loom_core.config.model import QUARTER_TWIN, DiTConfig
from loom_core.models.dit import LoomDiT
from loom_core.weights.loading import load_dit

from .registry import Benchmark
from .report import Comparison, Figure

STATUS = Path("/proc/self/status")
CONFIG = replace(QUARTER_TWIN, num_layers=62)
"""The twin with more blocks: 1.3 GB, large beside the imports."""

DTYPE = torch.bfloat16
PROCESSES = 3
"""Of each of ours; the one of median time counts."""

MEGA = 1e6


@dataclass(frozen=True)
class LoadMemory:
    """Bytes over those before loading.

    Args:
        peak: Most while loading, mapped file pages included.
        private: After loading, without mapped file pages.
        peak_used: Most until every weight has been read once, as a first forward pass does.
        seconds: Processor time until the model is ready; each weight is read when it is first used.
    """

    peak: int
    private: int
    peak_used: int
    seconds: float


def parse_status(text: str) -> dict[str, int]:
    """Sizes in bytes from the text of /proc/self/status, which has them in units of 1024 bytes."""
    fields = (line.split() for line in text.splitlines())
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in fields if words[-1:] == ["kB"]}


def _plain_model() -> LoomDiT:
    return LoomDiT(CONFIG, dtype=DTYPE)


def _load_dit(path: Path) -> LoomDiT:
    return load_dit(path, config=CONFIG)


def _load_unchecked(path: Path) -> LoomDiT:
    return load_dit(path, config=CONFIG, check_finite=False)


def _load_file(path: Path) -> LoomDiT:
    model = _plain_model()
    model.load_state_dict(load_file(path))
    return model


def _torch_load(path: Path) -> LoomDiT:
    model = _plain_model()
    model.load_state_dict(torch.load(path, weights_only=True))
    return model


WAYS: dict[str, Callable[[Path], LoomDiT]] = {
    "load_dit": _load_dit,
    "load_unchecked": _load_unchecked,
    "load_file": _load_file,
    "torch_load": _torch_load,
}


def measure_here(way: str, path: Path) -> LoadMemory:
    """Load in this process; meant for a fresh one, since the peak covers the whole life of a process.

    Args:
        way: One of `WAYS`.
        path: The checkpoint.
    """
    before, begin = parse_status(STATUS.read_text()), time.process_time()
    model = WAYS[way](path)
    seconds = time.process_time() - begin
    loaded = parse_status(STATUS.read_text())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.sum()
    used = parse_status(STATUS.read_text())
    return LoadMemory(
        peak=loaded["VmHWM"] - before["VmRSS"],
        private=loaded["RssAnon"] - before["RssAnon"],
        peak_used=used["VmHWM"] - before["VmRSS"],
        seconds=seconds,
    )


def measure_apart(way: str, path: Path, *, processes: int = 1) -> LoadMemory:
    """`measure_here` in fresh processes; the one of median time."""
    root = Path(__file__).resolve().parent.parent
    command = [sys.executable, "-m", "benchmarks.load_memory", way, str(path)]
    found = []
    for _ in range(processes):
        result = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
        found.append(LoadMemory(**json.loads(result.stdout)))
    return sorted(found, key=lambda one: one.seconds)[processes // 2]


def _random_state(config: DiTConfig) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = {name: tensor.shape for name, tensor in LoomDiT(config, device="meta").state_dict().items()}
    return {name: (0.02 * torch.randn(shape, generator=generator)).to(DTYPE) for name, shape in shapes.items()}


def _missing() -> str | None:
    return None if STATUS.exists() else f"It reads {STATUS}, which Linux has."


def measure() -> Iterator[Comparison]:
    """All comparisons; writes a checkpoint of about 1.3 GB twice into a temporary folder."""
    with TemporaryDirectory() as folder:
        files = {"safetensors": Path(folder, "twin.safetensors"), "pth": Path(folder, "twin.pth")}
        state = _random_state(CONFIG)
        save_file(state, files["safetensors"], metadata={"format": "loomvideo-dit", "config": CONFIG.to_json()})
        torch.save(state, files["pth"])
        del state
        naive = {
            "safetensors": ("load_file", "load_file and load_state_dict"),
            "pth": ("torch_load", "torch.load and load_state_dict"),
        }
        for kind, path in files.items():
            way, name = naive[kind]
            ours = measure_apart("load_dit", path, processes=PROCESSES)
            yield from _compare(measure_apart(way, path), ours, name=name, kind=kind)
            if kind == "safetensors":
                yield _check(ours, measure_apart("load_unchecked", path, processes=PROCESSES), kind=kind)


def _weight_megabytes() -> float:
    return sum(tensor.nbytes for tensor in LoomDiT(CONFIG, device="meta", dtype=DTYPE).state_dict().values()) / MEGA


def _conditions(kind: str) -> str:
    return (
        f"quarter-size twin with {CONFIG.num_layers} blocks, bfloat16, .{kind} of {_weight_megabytes():.0f} MB, CPU, "
        f"fresh processes, the median of {PROCESSES} of ours, over what the imports need"
    )


def _compare(naive: LoadMemory, ours: LoadMemory, *, name: str, kind: str) -> Iterator[Comparison]:
    weights, conditions = _weight_megabytes(), _conditions(kind)
    for key, title, first, second in (
        ("load_peak", "peak resident memory while loading", naive.peak, ours.peak),
        ("load_private", "memory outside mapped files after loading", naive.private, ours.private),
        ("load_used", "peak resident memory until every weight was used once", naive.peak_used, ours.peak_used),
    ):
        yield Comparison(
            key=f"{key}_{kind}",
            title=title,
            first=Figure(name, first / MEGA),
            second=Figure("load_dit", second / MEGA),
            unit="MB",
            conditions=conditions,
        )
    yield Comparison(
        key=f"load_time_{kind}",
        title="processor time until the model is ready",
        first=Figure(name, naive.seconds),
        second=Figure("load_dit", ours.seconds),
        unit="s",
        conditions=conditions,
    )
    yield Comparison(
        key=f"load_against_file_{kind}",
        title="peak resident memory until every weight was used once, against the file",
        first=Figure("load_dit", ours.peak_used / MEGA),
        second=Figure("the file's weights", weights),
        unit="MB",
        conditions=conditions,
    )


def _check(ours: LoadMemory, unchecked: LoadMemory, *, kind: str) -> Comparison:
    return Comparison(
        key=f"load_check_{kind}",
        title="processor time until the model is ready, with and without a look at every number",
        first=Figure("load_dit", ours.seconds),
        second=Figure("check_finite=False", unchecked.seconds),
        unit="s",
        conditions=_conditions(kind),
    )


BENCHMARK = Benchmark(
    about="memory and time of loading a checkpoint of 1.3 GB, each way in a process of its own",
    seconds=50,
    measure=measure,
    missing=_missing,
)


if __name__ == "__main__":
    found = measure_here(sys.argv[1], Path(sys.argv[2]))
    print(json.dumps(vars(found)))
