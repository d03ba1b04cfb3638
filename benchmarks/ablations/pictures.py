"""A comparison as a picture: how the held-out loss falls with spent compute, and where the variants end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from loom_core.atomic import atomic_target
from loom_core.training.watch.axes import Axes, padded, suits_log, tick_text, value_range

from .comparisons import Comparison
from .intervals import Estimate, estimate

SIZE = (1100, 440)
COLOURS = ((27, 86, 164), (228, 139, 16), (38, 145, 84), (184, 44, 104))
"""Of the variants, in their order; the first is the paper's way."""
_SHARPNESS = 2  # drawn so much larger, then scaled down
_INK, _FRAME, _GRID, _PAPER = (40, 44, 52), (150, 155, 165), (233, 235, 239), (255, 255, 255)
_BAND = 50  # opacity of an interval along a curve, of 255
_CURVES, _ENDS = (70, 600), (790, 1070)  # columns of the two panels
_TOP, _BOTTOM = 70, 380

Seeds = Mapping[int, Mapping[str, Any]]


@dataclass(frozen=True)
class Curve:
    """Means over the seeds after parts of the budget.

    Args:
        spent: TFLOP.
        losses: One for each.
    """

    spent: list[float]
    losses: list[Estimate]


def curve_of(seeds: Seeds) -> Curve:
    """The curve of a variant, as long as the shortest of its seeds."""
    curves = [result["curve"] for result in seeds.values()]
    length = min(map(len, curves))
    spent = [estimate([curve[mark]["flops"] / 1e12 for curve in curves]).mean for mark in range(length)]
    return Curve(spent, [estimate([curve[mark]["loss"] for curve in curves]) for mark in range(length)])


def ends_of(comparison: Comparison, results: Mapping[str, Seeds]) -> dict[str, Estimate]:
    """Where each variant ends, in what the comparison is about: loss, or right answers in per cent."""

    def value(result: Mapping[str, Any]) -> float:
        if comparison.headline == "right":
            return 100 * float(result["judged"]["right"])
        return float(result["curve"][-1]["loss"])

    return {
        variant: estimate([value(result) for result in results[variant].values()])
        for variant in comparison.variants
        if variant in results
    }


class _Sheet:
    """A picture that is drawn in larger pixels than it is given in."""

    def __init__(self) -> None:
        self.image = Image.new("RGB", (SIZE[0] * _SHARPNESS, SIZE[1] * _SHARPNESS), _PAPER)
        self._draw = ImageDraw.Draw(self.image)

    def line(self, points: Sequence[tuple[float, float]], colour: tuple[int, int, int], width: float = 1.0) -> None:
        large = [(x * _SHARPNESS, y * _SHARPNESS) for x, y in points]
        self._draw.line(large, fill=colour, width=round(width * _SHARPNESS))

    def dot(self, x: float, y: float, colour: tuple[int, int, int], radius: float = 4.0) -> None:
        box = (x - radius, y - radius, x + radius, y + radius)
        self._draw.ellipse(tuple(side * _SHARPNESS for side in box), fill=colour)

    def band(self, points: Sequence[tuple[float, float]], colour: tuple[int, int, int]) -> None:
        mask = Image.new("L", self.image.size, 0)
        ImageDraw.Draw(mask).polygon([(x * _SHARPNESS, y * _SHARPNESS) for x, y in points], fill=_BAND)
        self.image.paste(colour, mask=mask)

    def text(self, x: float, y: float, text: str, anchor: str, size: int = 13) -> None:
        font = ImageFont.load_default(size * _SHARPNESS)
        self._draw.text((x * _SHARPNESS, y * _SHARPNESS), text, fill=_INK, font=font, anchor=anchor)

    def save(self, path: Path) -> None:
        small = self.image.resize(SIZE, Image.Resampling.BOX)
        with atomic_target(path) as temporary:
            small.save(temporary, format="PNG", optimize=True)


def draw_comparison(comparison: Comparison, results: Mapping[str, Seeds], path: Path) -> None:
    """Draw a comparison.

    Args:
        comparison: At least one of whose variants has results.
        results: Variant -> seed -> result.
        path: A PNG file.
    """
    sheet = _Sheet()
    colours = {variant: COLOURS[place] for place, variant in enumerate(comparison.variants) if variant in results}
    sheet.text(_CURVES[0], 24, comparison.title, "ls", 17)
    _draw_curves(sheet, {variant: curve_of(results[variant]) for variant in colours}, colours)
    _draw_ends(sheet, comparison, ends_of(comparison, results), colours)
    sheet.save(path)


def _edges(found: Estimate) -> tuple[float, float]:
    half = found.half or 0.0
    return found.mean - half, found.mean + half


def _draw_curves(sheet: _Sheet, curves: Mapping[str, Curve], colours: Mapping[str, tuple[int, int, int]]) -> None:
    axes = curve_axes(list(curves.values()))
    _draw_grid(sheet, axes, y=True, label="held-out loss" + (" (log)" if axes.is_log else ""), below="TFLOP spent")
    for variant, curve in curves.items():
        upper = [(axes.x(x), axes.y(_edges(loss)[1])) for x, loss in zip(curve.spent, curve.losses, strict=True)]
        lower = [(axes.x(x), axes.y(_edges(loss)[0])) for x, loss in zip(curve.spent, curve.losses, strict=True)]
        if len(upper) > 1:
            sheet.band([*upper, *reversed(lower)], colours[variant])
    for variant, curve in curves.items():
        means = [(axes.x(x), axes.y(loss.mean)) for x, loss in zip(curve.spent, curve.losses, strict=True)]
        sheet.line(means, colours[variant], 2.0)
        for x, y in means:
            sheet.dot(x, y, colours[variant], 3.0)


def curve_axes(curves: Sequence[Curve]) -> Axes:
    """Axes that hold all curves with their intervals."""
    means = [loss.mean for curve in curves for loss in curve.losses]
    edges = [edge for curve in curves for loss in curve.losses for edge in _edges(loss)]
    is_log = min(edges) > 0 and suits_log(min(means), max(means))
    low, high = padded(*value_range(edges), is_log=is_log)
    last = max((x for curve in curves for x in curve.spent), default=0.0) or 1.0
    return Axes(
        left=_CURVES[0], right=_CURVES[1], top=_TOP, bottom=_BOTTOM, x_min=-0.01 * last, x_max=1.01 * last,
        y_min=low, y_max=high, is_log=is_log,
    )  # fmt: skip


def _draw_ends(
    sheet: _Sheet,
    comparison: Comparison,
    ends: Mapping[str, Estimate],
    colours: Mapping[str, tuple[int, int, int]],
) -> None:
    low, high = padded(*value_range([edge for found in ends.values() for edge in _edges(found)]), is_log=False)
    axes = Axes(
        left=_ENDS[0], right=_ENDS[1], top=_TOP, bottom=_BOTTOM, x_min=low, x_max=high, y_min=0.0,
        y_max=float(len(ends)), is_log=False,
    )  # fmt: skip
    below = "right answers in per cent" if comparison.headline == "right" else "held-out loss at the end"
    _draw_grid(sheet, axes, y=False, label="", below=f"{below}, 95 % interval")
    for place, (variant, found) in enumerate(ends.items()):
        y = axes.y(len(ends) - place - 0.5)
        sheet.text(axes.left - 10, y, variant, "rm")
        if found.half is not None:
            first, last = (axes.x(edge) for edge in _edges(found))
            sheet.line([(first, y), (last, y)], colours[variant], 2.0)
            for edge in (first, last):
                sheet.line([(edge, y - 5), (edge, y + 5)], colours[variant], 2.0)
        sheet.dot(axes.x(found.mean), y, colours[variant], 5.0)


def _draw_grid(sheet: _Sheet, axes: Axes, *, y: bool, label: str, below: str) -> None:
    columns: Callable[[float], float] = axes.x
    for tick in axes.x_ticks()[:: 1 if y else 2]:
        sheet.line([(columns(tick), axes.top), (columns(tick), axes.bottom)], _GRID)
        sheet.text(columns(tick), axes.bottom + 8, tick_text(tick), "ma")
    for tick in axes.y_ticks() if y else ():
        sheet.line([(axes.left, axes.y(tick)), (axes.right, axes.y(tick))], _GRID)
        sheet.text(axes.left - 8, axes.y(tick), tick_text(tick), "rm")
    corners = [(axes.left, axes.top), (axes.right, axes.top), (axes.right, axes.bottom), (axes.left, axes.bottom)]
    sheet.line([*corners, corners[0]], _FRAME)
    sheet.text((axes.left + axes.right) / 2, axes.bottom + 28, below, "ma")
    sheet.text(axes.left, axes.top - 8, label, "ls")
