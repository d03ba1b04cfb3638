"""One run of the benchmarks: `python -m benchmarks`, less than ten minutes on two cores.

Prints a line a comparison, and writes a file of results a benchmark. `--list` names them; names run only those. See
docs/performance.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from loom_core.errors import LoomError

from .registry import NAMES, Benchmark, find
from .report import environment, write_results

RESULTS = Path(__file__).resolve().parent / "results"


def processor_seconds() -> float:
    """Processor time of this process and of those that it started and that have ended."""
    return sum(os.times()[:4])


def run(name: str, benchmark: Benchmark, folder: Path) -> None:
    """Run one, print what it finds, write it; where it cannot run, say so and leave its results as they are."""
    if (missing := benchmark.missing()) is not None:
        print(f"{name}: not measured. {missing}")
        return
    print(f"{name}: {benchmark.about}", flush=True)
    begin, worked = time.perf_counter(), processor_seconds()
    target = folder / f"{name}.json"
    if benchmark.write is not None:
        benchmark.write(target)
    else:
        comparisons = []
        for comparison in benchmark.measure():
            print(comparison.line(), flush=True)
            comparisons.append(comparison)
        write_results(target, comparisons)
    seconds, worked = time.perf_counter() - begin, processor_seconds() - worked
    print(f"{name}: {seconds:.0f} s, {worked:.0f} s of processor time", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Benchmarks; see docs/performance.md.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these; all are {', '.join(NAMES)}")
    parser.add_argument("--list", action="store_true", help="say what there is, and measure nothing")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the results (default: %(default)s)")
    arguments = parser.parse_args(argv)
    try:
        chosen = find(tuple(arguments.names))
    except LoomError as error:
        print(error, file=sys.stderr)
        return 2
    if arguments.list:
        for name, benchmark in chosen.items():
            print(f"{name:14} {benchmark.seconds:4} s  {benchmark.about}")
        return 0
    torch.set_num_threads(1)
    for name, benchmark in chosen.items():
        run(name, benchmark, arguments.output)
    print(f"all: {processor_seconds():.0f} s of processor time")
    print(", ".join(f"{name} {value}" for name, value in environment().items()))
    print(f"Results are in {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
