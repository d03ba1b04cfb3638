"""One run of the benchmarks: `python -m benchmarks`, less than ten minutes on two cores.

Prints a line a comparison, and writes a file of results a benchmark. `--list` names them; names run only those. See
docs/performance.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from loom_core.errors import LoomError

from .registry import NAMES, Benchmark, find
from .report import environment, write_results

RESULTS = Path(__file__).resolve().parent / "results"


def run(name: str, benchmark: Benchmark, folder: Path) -> None:
    """Run one, print what it finds, write it; where it cannot run, say so and leave its results as they are."""
    if (missing := benchmark.missing()) is not None:
        print(f"{name}: not measured. {missing}")
        return
    print(f"{name}: {benchmark.about}", flush=True)
    begin, comparisons = time.perf_counter(), []
    for comparison in benchmark.measure():
        print(comparison.line(), flush=True)
        comparisons.append(comparison)
    write_results(folder / f"{name}.json", comparisons)
    print(f"{name}: {time.perf_counter() - begin:.0f} s", flush=True)


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
    print(", ".join(f"{name} {value}" for name, value in environment().items()))
    print(f"Results are in {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
