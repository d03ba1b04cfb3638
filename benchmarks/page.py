"""From results to docs/performance.md: its rows, the table of targets and the plots. `python -m benchmarks.page`.

A row of the page that ends with the key of a comparison gets that comparison's numbers; the words before them stay.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import quantised_golden, quantised_sizes
from .ablations.page import filled
from .plots import Points, curves_svg, write_svg
from .targets import TARGETS, Results, read_results, table

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "performance.md"
PICTURES = ROOT / "docs" / "images" / "performance"
RESULTS = ROOT / "benchmarks" / "results"
ROW = re.compile(r"^(\|.*\| )\*\*[\d.]+\*\* \|[^|]*\| `(\w+)` \|$", re.MULTILINE)
"""Words, ratio, numbers, key."""
_LENGTH = re.compile(r"length_(480p|720p)_(\d+)")
_DECODE = re.compile(r"decode_memory_(\d+)")


def _number(value: float) -> str:
    """Four digits; no exponent below a million."""
    return f"{value:.0f}" if 1000 <= value < 1e6 else f"{value:.4g}"


def numbers(found: Mapping[str, Any]) -> str:
    """The cells of a comparison: its ratio, then its two numbers and the range of the rounds.

    Args:
        found: What the results file holds of it.
    """
    spread = found["spread"]
    text = f"{_number(found['first']['value'])} / {_number(found['second']['value'])} {found['unit']}"
    if spread is not None:
        text += f", rounds {spread[0]:.2f} to {spread[1]:.2f}"
    return f"**{found['ratio']:.{3 if spread is None else 2}f}** | {text}"


def with_numbers(page: str, results: Results) -> str:
    """A page whose rows show what the results hold; rows of other keys stay as they are."""

    def row(match: re.Match[str]) -> str:
        words, key = match.groups()
        return f"{words}{numbers(results[key])} | `{key}` |" if key in results else match.group()

    return ROW.sub(row, page)


def sections(results: Results) -> dict[str, str]:
    """Tables of the page that are written as a whole, by the name of their place."""
    return {
        "targets": table(TARGETS, results),
        "quantised_sizes": quantised_sizes.table(results),
        "quantised_golden": quantised_golden.table(results),
    }


def pictures(results: Results) -> dict[str, str]:
    """Plots by file name, as SVG, of those whose results are there."""
    length: dict[str, list[tuple[float, float]]] = {}
    decode: dict[str, list[tuple[float, float]]] = {}
    for key, found in results.items():
        if match := _LENGTH.fullmatch(key):
            length.setdefault({"480p": "832x480", "720p": "1280x704"}[match[1]], []).append(
                (float(match[2]), found["ratio"])
            )
        if match := _DECODE.fullmatch(key):
            for figure in (found["first"], found["second"]):
                decode.setdefault(figure["name"], []).append((float(match[1]), figure["value"]))
    drawn: dict[str, tuple[str, Mapping[str, Points]]] = {
        "length.svg": ("FLOPs of concatenating the source over those of Scale-and-Add, at full size", length),
        "decode.svg": ("GB alive while 256x256 pixels are decoded, at full size", decode),
    }
    return {name: curves_svg(title, curves, x_label="frames") for name, (title, curves) in drawn.items() if curves}


def main() -> None:
    """Bring the page and its plots up to date with the results."""
    results = read_results(RESULTS)
    page = filled(PAGE.read_text(encoding="utf-8"), sections(results))
    PAGE.write_text(with_numbers(page, results), encoding="utf-8")
    for name, text in pictures(results).items():
        write_svg(PICTURES / name, text)
    print(f"{PAGE.name} shows the results of {len(results)} comparisons")


if __name__ == "__main__":
    main()
