"""Curves as SVG, drawn from results: a small text that changes only where a number does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from loom_core.atomic import atomic_target
from loom_core.training.watch.axes import Axes, padded, tick_text, value_range

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 760, 380
COLOURS = ("#1b56a4", "#e48b10", "#269154", "#b82c68")
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 560, 50, 320
_INK, _GRID = "#282c34", "#e3e5e9"


def _text(x: float, y: float, text: str, anchor: str = "middle", size: int = 13) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'


def _line(points: Points, colour: str, width: float) -> str:
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def axes_of(curves: Mapping[str, Points]) -> Axes:
    """Axes that hold all points; x begins at 0."""
    low, high = padded(*value_range([y for points in curves.values() for _, y in points]), is_log=False)
    last = max(x for points in curves.values() for x, _ in points)
    return Axes(
        left=_LEFT, right=_RIGHT, top=_TOP, bottom=_BOTTOM, x_min=0.0, x_max=1.02 * last, y_min=low, y_max=high,
        is_log=False,
    )  # fmt: skip


def curves_svg(title: str, curves: Mapping[str, Points], *, x_label: str) -> str:
    """A picture of curves, each a line with a dot a point, named on the right.

    Args:
        title: Above it; says what y is.
        curves: Name -> points, at least one with a point.
        x_label: Below it.
    """
    axes = axes_of(curves)
    parts = [_text(_LEFT, 28, title, "start", 15)]
    for tick in axes.x_ticks():
        parts += [_line([(axes.x(tick), _TOP), (axes.x(tick), _BOTTOM)], _GRID, 1)]
        parts += [_text(axes.x(tick), _BOTTOM + 20, tick_text(tick))]
    for tick in axes.y_ticks():
        parts += [_line([(_LEFT, axes.y(tick)), (_RIGHT, axes.y(tick))], _GRID, 1)]
        parts += [_text(_LEFT - 8, axes.y(tick) + 4, tick_text(tick), "end")]
    parts.append(_text((_LEFT + _RIGHT) / 2, _BOTTOM + 44, x_label))
    for (name, points), colour in zip(curves.items(), COLOURS, strict=False):
        places = [(axes.x(x), axes.y(y)) for x, y in points]
        parts.append(_line(places, colour, 2))
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        parts.append(f'<g fill="{colour}">{_text(_RIGHT + 8, places[-1][1] + 4, name, "start")}</g>')
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" fill="{_INK}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {box}>'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>', *parts, "</svg>"]) + "\n"


def write_svg(path: Path, text: str) -> None:
    """Write a picture; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_target(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
