"""The paper's ablations in small: `python -m benchmarks.ablations` makes all runs that are missing, then the page.

A run that is finished is not made again, so the same command goes on after a stop; `--report` makes the page alone.
`--smoke` makes a few steps of every run, in a folder of its own, page included.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from loom_core.cli.exits import run as run_command
from loom_core.errors import CancelledError, ConfigError, LoomError

from .comparisons import COMPARISONS, VARIANTS
from .page import PAGE, PICTURES, RESULTS, write_page
from .running import SMOKE, Run, Size, finish, result_of

SEEDS = (0, 1, 2)


def build_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablations", description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="of all runs (default: runs/ablations)")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), metavar="NAME", help=", ".join(VARIANTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS), metavar="N", help="default: 0 1 2")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of the CPU (default: 1)")
    parser.add_argument("--report", action="store_true", help="make the page of the runs that there are, and no run")
    parser.add_argument("--smoke", action="store_true", help="a few steps of each; the page goes beside the runs")
    return parser


def chosen_runs(variants: Sequence[str], seeds: Sequence[int], *, size: Size, work: Path) -> list[Run]:
    """The runs in the order in which they are made: seed after seed, so that every comparison is there early.

    Raises:
        ConfigError: A variant is unknown.
    """
    for name in variants:
        if name not in VARIANTS:
            raise ConfigError(f"variant {name!r}", expected=", ".join(VARIANTS), fix="correct the name")
    return [Run(VARIANTS[name], seed, size, work) for seed in dict.fromkeys(seeds) for name in dict.fromkeys(variants)]


def make_all(runs: Sequence[Run]) -> list[str]:
    """Make the runs that are missing; returns what became of those that failed, upon which the others are still made.

    Raises:
        CancelledError: A signal stopped one.
    """
    failures = []
    for run in runs:
        name = f"{run.variant.name}, seed {run.seed}"
        start = time.monotonic()
        try:
            is_known = result_of(run) is not None
            result = finish(run)
        except CancelledError:
            raise
        except LoomError as error:
            failures.append(f"{name}: {error}")
            print(f"{name}: failed: {error}", flush=True)
            continue
        took = "known" if is_known else f"{time.monotonic() - start:.0f} s"
        spent, loss, asked = result["flops"] / 1e12, result["curve"][-1]["loss"], result["judged"]["asked"]
        print(
            f"{name}: {result['steps']} steps, {spent:.3f} TFLOP, loss {loss:.4f}, as asked {asked:.0%} ({took})",
            flush=True,
        )
    return failures


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    arguments = build_parser().parse_args(argv)
    torch.set_num_threads(arguments.threads)
    work = arguments.work or Path("build/ablations-smoke" if arguments.smoke else "runs/ablations")
    size = SMOKE if arguments.smoke else Size()
    failures = []
    if not arguments.report:
        failures = make_all(chosen_runs(arguments.variants, arguments.seeds, size=size, work=work.resolve()))
    results, page, pictures = RESULTS, PAGE, PICTURES
    if arguments.smoke:
        results, page, pictures = work / RESULTS.name, work / PAGE.name, work / "images"
    write_page(work / "runs", results=results, page=page, pictures=pictures, comparisons=COMPARISONS)
    print(f"The page is {page}")
    for failure in failures:
        print(f"failed: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(run_command(main))
