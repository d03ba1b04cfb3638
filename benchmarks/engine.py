"""One run of all benchmarks of the engine: `python -m benchmarks.engine`, five to eight minutes on two cores.

Prints a line a comparison, and writes benchmarks/results/engine.json. See docs/performance.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from . import full_size, load_memory, twin
from .report import Comparison, environment, write_results

RESULTS = Path(__file__).resolve().parent / "results" / "engine.json"


def main() -> None:
    """Run all, print, write."""
    parser = argparse.ArgumentParser(description="Benchmarks of the engine; see docs/performance.md.")
    parser.add_argument("--output", type=Path, default=RESULTS, help="results file (default: %(default)s)")
    output: Path = parser.parse_args().output

    comparisons: list[Comparison] = []
    notes: list[str] = []
    sections = [full_size.measure, twin.measure]
    if load_memory.STATUS.exists():
        sections.append(load_memory.measure)
    else:
        notes.append("Memory of loading was not measured: this system has no /proc/self/status.")
    for section in sections:
        for comparison in section():
            print(comparison.line(), flush=True)
            comparisons.append(comparison)
    for note in notes:
        print(note)
    write_results(output, comparisons, notes=notes)
    print(", ".join(f"{name} {value}" for name, value in environment().items()))
    print(f"Results are in {output}")


if __name__ == "__main__":
    main()
