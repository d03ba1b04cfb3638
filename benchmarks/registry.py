"""The benchmarks that one run goes through, and what each of them tells about itself.

To add one: write a module here whose `BENCHMARK` says what it is, and put its name into `NAMES`. Its results go into
a file of its own, benchmarks/results/<name>.json.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from loom_core.errors import ConfigError

from .report import Comparison

NAMES = (
    "full_size",
    "twin",
    "reference",
    "official",
    "length",
    "scaling",
    "branches",
    "calls",
    "decode",
    "load_memory",
    "quantised",
    "streaming",
    "shortcuts",
    "imports",
    "host",
)
"""Modules of this package, in the order in which they run."""


def nothing_missing() -> str | None:
    """For a benchmark that runs everywhere."""
    return None


def nothing_compared() -> Iterator[Comparison]:
    """For a benchmark that writes its own file."""
    return iter(())


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A part of the run.

    Args:
        about: What it measures, in a line.
        seconds: About how long it takes on two cores.
        measure: Yields what it found, as it finds it.
        missing: Why it cannot run here, in a sentence that says what it needs; None where it can.
        write: In the place of `measure`, where what was found are no comparisons: measures, prints, and writes the file
            that it is given.
    """

    about: str
    seconds: int
    measure: Callable[[], Iterator[Comparison]] = nothing_compared
    missing: Callable[[], str | None] = nothing_missing
    write: Callable[[Path], None] | None = None


def find(names: tuple[str, ...] = ()) -> dict[str, Benchmark]:
    """Benchmarks by name, in the order of `NAMES`.

    Args:
        names: Which; none for all.

    Raises:
        ConfigError: There is none of a name.
    """
    if unknown := sorted(set(names) - set(NAMES)):
        raise ConfigError(
            f"no benchmark {', '.join(unknown)}", expected=f"some of {', '.join(NAMES)}", fix="leave out the others"
        )
    chosen = [name for name in NAMES if not names or name in names]
    return {name: import_module(f".{name}", __package__).BENCHMARK for name in chosen}
