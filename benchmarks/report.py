"""What a benchmark found: pairs of numbers, their ratio, and under which conditions."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class Figure:
    """A number with its name.

    Args:
        name: What was run.
        value: In the unit of the comparison.
    """

    name: str
    value: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two numbers, measured alike; where two ways to do the same are compared, the second is what loom_core does.

    Args:
        key: Name in the results file; stays the same from run to run.
        title: What is compared.
        first: The other way.
        second: What loom_core does.
        unit: Of both numbers.
        conditions: Sizes, dtype, device, how often.
        spread: Smallest and largest ratio of a round, where several were measured.
    """

    key: str
    title: str
    first: Figure
    second: Figure
    unit: str
    conditions: str
    spread: tuple[float, float] | None = None

    @property
    def ratio(self) -> float:
        """The first number over the second."""
        return self.first.value / self.second.value

    def line(self) -> str:
        """For a terminal."""
        spread = "" if self.spread is None else f" (rounds {self.spread[0]:.3f} to {self.spread[1]:.3f})"
        return (
            f"{self.ratio:8.3f} x{spread}  {self.title}: {self.first.name} {self.first.value:.5g} {self.unit}, "
            f"{self.second.name} {self.second.value:.5g} {self.unit}  [{self.conditions}]"
        )

    def to_mapping(self) -> dict[str, Any]:
        """For the results file."""
        return {"ratio": self.ratio, **asdict(self)}


def environment() -> dict[str, Any]:
    """What the numbers of a run depend on, without naming a machine."""
    return {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "processor": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": "not used",
    }


def write_results(path: Path, comparisons: Sequence[Comparison]) -> None:
    """Write all comparisons as JSON; an existing file is replaced once the new one is complete.

    Args:
        path: The file.
        comparisons: In order.
    """
    content = {
        "environment": environment(),
        "comparisons": [comparison.to_mapping() for comparison in comparisons],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    try:
        unfinished.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
