"""Loss curves as a picture, read from metrics files."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ...atomic import atomic_target
from .axes import Axes, padded, suits_log, tick_text, value_range
from .metrics_file import History, read_history
from .observer import NOISE_THIRDS, RunAbout, SilentObserver, StepMetrics, ValidationMetrics
from .smoothing import smoothed

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

CURVE_FILE = "curve.png"
"""Its name in the run's folder."""

PANEL_SIZE = (1100, 420)
"""Width and height in pixels of one run's part of the figure."""

RAW = (197, 213, 234)
SMOOTHED = (27, 86, 164)
NOISE_COLOURS = {"low": (38, 145, 84), "mid": (228, 139, 16), "high": (184, 44, 104)}
_TEXT, _FRAME, _GRID, _PAPER = (40, 44, 52), (150, 155, 165), (233, 235, 239), (255, 255, 255)

_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 24, 64, 48
_SHARPNESS = 3  # lines are drawn this much larger and scaled down, to be smooth
_SMOOTHING_SHARE = 40  # the smoothing window is this part of the run
_LEAST_SMOOTHING, _MOST_SMOOTHING = 5.0, 500.0
_MARGIN_SHARE = 0.008  # room for a whole dot at the first and the last step

YScale = Literal["auto", "linear", "log"]
Point = tuple[float, float]
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class _Line:
    points: list[Point]
    colour: Colour
    width: float
    radius: float = 0.0


class CurvePicture(SilentObserver):
    """Draws the curve of a run's metrics file now and then: at the end and after a validation, but sparingly.

    Args:
        metrics: The metrics file; an observer told earlier writes it.
        picture: Where the picture goes.
        pause_seconds: Least time between two pictures.
        clock: Seconds, rising.
    """

    def __init__(
        self,
        metrics: Path,
        picture: Path,
        *,
        pause_seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics, self._picture = metrics, picture
        self._pause, self._clock = pause_seconds, clock
        self._due = clock() + pause_seconds
        self._is_stale = False

    def on_start(self, about: RunAbout) -> None:  # noqa: ARG002
        """Be sure that there will be a picture."""
        self._is_stale = True

    def on_step(self, metrics: StepMetrics) -> None:  # noqa: ARG002
        """Draw when it is time."""
        self._is_stale = True
        if self._clock() >= self._due:
            self._draw()

    def on_validation(self, metrics: ValidationMetrics) -> None:  # noqa: ARG002
        """There is more to draw."""
        self._is_stale = True

    def close(self) -> None:
        """Draw the last state."""
        if self._is_stale:
            self._draw()

    def _draw(self) -> None:
        started = self._clock()
        draw_curves([("", self._metrics)], self._picture)
        ended = self._clock()
        # a long run's file takes long to read: never more than a fiftieth of the time
        self._due = ended + max(self._pause, 50 * (ended - started))
        self._is_stale = False


def draw_curves(runs: Sequence[tuple[str, Path]], out_png: Path, *, y_scale: YScale = "auto") -> None:
    """Draw the loss curves of several runs, one below the other, each with its own axes.

    Args:
        runs: (name, metrics file); an empty name takes the one in the file.
        out_png: The picture; it appears whole or not at all.
        y_scale: "linear", "log", or "auto" for log where the losses span a factor of 8.

    Raises:
        OutputError: The picture's folder is missing or not writable.
        ResourceError: The disk is full.
    """
    from PIL import Image

    width, height = PANEL_SIZE
    figure = Image.new("RGB", (width, height * max(1, len(runs))), _PAPER)
    for row, (name, path) in enumerate(runs):
        history = read_history(path)
        figure.paste(curve_panel(name or history.name, history, y_scale=y_scale), (0, row * height))
    with atomic_target(out_png) as temporary:
        figure.save(temporary, format="PNG", optimize=True)


def panel_axes(history: History, *, y_scale: YScale = "auto") -> Axes:
    """Where the values of a run lie on its panel."""
    raw, smooth, validation = _points(history)
    always = [y for points in (smooth, *validation.values()) for _, y in points]
    low, high = value_range([y for _, y in raw], always=always)
    is_log = low > 0 and (y_scale == "log" or (y_scale == "auto" and suits_log(low, high)))
    low, high = padded(low, high, is_log=is_log)
    width, height = PANEL_SIZE
    # validation before the first step stands at 0
    steps = [x for points in (raw, *validation.values()) for x, _ in points] or [0.0, 1.0]
    last = max(steps)
    first = min(steps) if min(steps) > last / 10 else 0.0
    margin = max(last - first, 1.0) * _MARGIN_SHARE
    return Axes(
        left=_LEFT,
        right=width - _RIGHT,
        top=_TOP,
        bottom=height - _BOTTOM,
        x_min=first - margin,
        x_max=last + margin,
        y_min=low,
        y_max=high,
        is_log=is_log,
    )


def curve_panel(name: str, history: History, *, y_scale: YScale = "auto") -> Image:
    """One run's curves: each step faint, their running mean, validation losses by noise third."""
    from PIL import Image, ImageDraw

    axes = panel_axes(history, y_scale=y_scale)
    raw, smooth, validation = _points(history)
    panel = Image.new("RGB", PANEL_SIZE, _PAPER)
    draw = ImageDraw.Draw(panel)
    _draw_grid(draw, axes, label=_headline(history))
    lines = [_Line(raw, RAW, 1.0), _Line(smooth, SMOOTHED, 2.0, 0.0 if len(smooth) > 1 else 3.0)]
    lines += [_Line(points, NOISE_COLOURS[noise], 1.2, 3.5) for noise, points in validation.items()]
    _paste_lines(panel, axes, lines)
    draw.rectangle((axes.left, axes.top, axes.right, axes.bottom), outline=_FRAME)
    _draw_title(draw, axes, _title(name, history, smooth))
    legend = (
        [("each step", RAW, False), (f"mean of about {_window(len(raw)):.0f} steps", SMOOTHED, False)] if raw else []
    )
    whose = "validation of EMA" if _shown_weights(history) == "ema" else "validation"
    legend += [(f"{whose}: {noise} noise", NOISE_COLOURS[noise], True) for noise in validation]
    _draw_legend(draw, axes, legend)
    if not raw and not validation:
        font = _font(16)
        centre = ((axes.left + axes.right) / 2, (axes.top + axes.bottom) / 2)
        draw.text(centre, "no step yet", fill=_FRAME, font=font, anchor="mm")
    return panel


def _window(steps: int) -> float:
    return min(max(steps / _SMOOTHING_SHARE, _LEAST_SMOOTHING), _MOST_SMOOTHING)


def _shown_weights(history: History) -> str:
    """Those that are kept at the end, where both were measured."""
    return "ema" if any(each.weights == "ema" for each in history.validations) else "model"


def _points(history: History) -> tuple[list[Point], list[Point], dict[str, list[Point]]]:
    told = [(float(each.step), each.headline[1]) for each in history.steps]
    raw = [point for point in told if math.isfinite(point[1])]
    means = smoothed([y for _, y in raw], window=_window(len(raw)))
    smooth = [(x, mean) for (x, _), mean in zip(raw, means, strict=True)]
    validation: dict[str, list[Point]] = {}
    if _headline(history) != "loss":  # losses have no place on the axis of a reward
        return raw, smooth, validation
    shown = [each for each in history.validations if each.weights == _shown_weights(history)]
    for noise in NOISE_THIRDS:
        losses = [(float(each.step), each.by_noise().get(noise, math.nan)) for each in shown]
        points = [(step, loss) for step, loss in losses if math.isfinite(loss)]
        if points:
            validation[noise] = points
    return raw, smooth, validation


def _headline(history: History) -> str:
    """What the curve is of."""
    return history.steps[-1].headline[0] if history.steps else "loss"


def _title(name: str, history: History, smooth: Sequence[Point]) -> str:
    if not history.steps:
        return name
    last = history.steps[-1]
    loss = f"   {_headline(history)} {smooth[-1][1]:.4f}" if smooth else ""
    return f"{name}   step {last.step} of {last.steps}{loss}".strip()


def _font(size: int) -> FreeTypeFont | ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _draw_grid(draw: ImageDraw, axes: Axes, *, label: str) -> None:
    font = _font(13)
    for tick in axes.y_ticks():
        y = round(axes.y(tick))
        draw.line((axes.left, y, axes.right, y), fill=_GRID)
        draw.line((axes.left - 4, y, axes.left, y), fill=_FRAME)
        draw.text((axes.left - 8, y), tick_text(tick), fill=_TEXT, font=font, anchor="rm")
    for tick in axes.x_ticks():
        x = round(axes.x(tick))
        draw.line((x, axes.top, x, axes.bottom), fill=_GRID)
        draw.line((x, axes.bottom, x, axes.bottom + 4), fill=_FRAME)
        draw.text((x, axes.bottom + 8), tick_text(tick), fill=_TEXT, font=font, anchor="ma")
    draw.text(((axes.left + axes.right) / 2, axes.bottom + 27), "step", fill=_TEXT, font=font, anchor="ma")
    scale = f"{label} (log)" if axes.is_log else label
    draw.text((axes.left - 8, axes.top - 8), scale, fill=_TEXT, font=font, anchor="rs")


def _draw_title(draw: ImageDraw, axes: Axes, title: str) -> None:
    draw.text((axes.left, 24), title, fill=_TEXT, font=_font(17), anchor="ls")


def _draw_legend(draw: ImageDraw, axes: Axes, entries: Sequence[tuple[str, Colour, bool]]) -> None:
    font = _font(13)
    x, y = float(axes.left), 46
    for text, colour, has_dot in entries:
        draw.line((x, y, x + 22, y), fill=colour, width=3)
        if has_dot:
            draw.ellipse((x + 7, y - 4, x + 15, y + 4), fill=colour)
        draw.text((x + 29, y), text, fill=_TEXT, font=font, anchor="lm")
        x += 29 + font.getlength(text) + 22


def _paste_lines(panel: Image, axes: Axes, lines: Sequence[_Line]) -> None:
    """Draw lines into the axes' rectangle, larger and then scaled down; what leaves the rectangle is cut off."""
    from PIL import Image, ImageDraw

    box = (axes.left, axes.top, axes.right, axes.bottom)
    size = (axes.right - axes.left, axes.bottom - axes.top)
    large = panel.crop(box).resize((size[0] * _SHARPNESS, size[1] * _SHARPNESS), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(large)
    for line in lines:
        # the middle of a pixel of the panel is the middle of its block here
        pixels = [
            ((axes.x(x) - axes.left + 0.5) * _SHARPNESS, (axes.y(y) - axes.top + 0.5) * _SHARPNESS)
            for x, y in line.points
        ]
        pixels = thinned(pixels)
        if len(pixels) > 1:
            draw.line(pixels, fill=line.colour, width=round(line.width * _SHARPNESS), joint="curve")
        radius = line.radius * _SHARPNESS
        if radius:
            for x, y in pixels:
                draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=line.colour)
    panel.paste(large.resize(size, Image.Resampling.BOX), box[:2])


def thinned(points: Sequence[Point]) -> list[Point]:
    """At most four points a pixel column (first, lowest, highest, last) of a line whose x rises; it looks the same."""
    columns: dict[int, list[Point]] = {}
    for point in points:
        columns.setdefault(math.floor(point[0]), []).append(point)
    kept: list[Point] = []
    for column in columns.values():
        by_height = sorted(range(len(column)), key=lambda index: column[index][1])
        chosen = {0, by_height[0], by_height[-1], len(column) - 1}
        kept += [column[index] for index in sorted(chosen)]
    return kept
