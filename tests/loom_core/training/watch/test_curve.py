from __future__ import annotations

import math
from dataclasses import replace

import pytest
from PIL import Image

from loom_core.errors import OutputError
from loom_core.training.watch.curve import (
    NOISE_COLOURS,
    PANEL_SIZE,
    RAW,
    SMOOTHED,
    CurvePicture,
    curve_panel,
    draw_curves,
    panel_axes,
    thinned,
)
from loom_core.training.watch.metrics_file import History, MetricsFile
from loom_core.training.watch.observer import RunAbout, StepMetrics, ValidationLoss, ValidationMetrics

WIDTH, HEIGHT = PANEL_SIZE


def step(number, loss, steps=100):
    return StepMetrics(step=number, steps=steps, loss=loss, grad_norm=1.0, lr=1.0, tokens=1, samples=1, seconds=1.0)


def validation(number, weights="model", **losses):
    cells = tuple(ValidationLoss(task="a", noise=noise, loss=loss, count=1) for noise, loss in losses.items())
    return ValidationMetrics(step=number, losses=cells, weights=weights)


def history(losses, validations=()):
    return History("run", tuple(step(index, loss) for index, loss in enumerate(losses, 1)), tuple(validations))


def pixel(panel, axes, number, loss):
    return panel.getpixel((math.floor(axes.x(number) + 0.5), math.floor(axes.y(loss) + 0.5)))


def is_near(colour, expected, tolerance=60):
    return all(abs(a - b) <= tolerance for a, b in zip(colour, expected, strict=True))


@pytest.mark.parametrize("y_scale", ["linear", "log"])
def test_a_known_curve_is_where_it_should_be(y_scale):
    known = history(
        [2.0] * 100, [validation(50, low=0.5, mid=1.0, high=4.0), validation(80, low=0.5, mid=1.0, high=4.0)]
    )
    panel, axes = curve_panel("run", known, y_scale=y_scale), panel_axes(known, y_scale=y_scale)
    assert axes.is_log == (y_scale == "log")
    for number in (10, 33, 60, 99):
        assert is_near(pixel(panel, axes, number, 2.0), SMOOTHED)
        assert not is_near(pixel(panel, axes, number, 3.0), SMOOTHED)
    for noise, loss in (("low", 0.5), ("mid", 1.0), ("high", 4.0)):
        for number in (50, 80):
            assert is_near(pixel(panel, axes, number, loss), NOISE_COLOURS[noise])


def test_where_there_is_a_reward_the_curve_is_of_that():
    """Losses, those of validation too, have no place on its axis; a reward may be negative."""
    steps = tuple(replace(step(number, 7.0), measures={"reward": -0.5}) for number in range(1, 101))
    known = History("run", steps, (validation(50, low=9.0),))
    panel, axes = curve_panel("run", known), panel_axes(known)
    assert not axes.is_log
    assert axes.y_max < 0
    assert is_near(pixel(panel, axes, 60, -0.5), SMOOTHED)


def test_single_losses_are_faint_and_their_mean_is_strong():
    """Losses of 1 and 3 in turn: the faint line covers all between them, the strong one runs at about 2."""
    known = history([1.0, 3.0] * 5000)
    panel, axes = curve_panel("run", known, y_scale="linear"), panel_axes(known, y_scale="linear")
    assert is_near(pixel(panel, axes, 7000, 2.0), SMOOTHED)
    for loss in (1.1, 1.5, 2.5, 2.9):
        assert is_near(pixel(panel, axes, 7000, loss), RAW, tolerance=30)
    assert pixel(panel, axes, 7000, 3.08) == (255, 255, 255)


def test_a_falling_curve_falls():
    known = history([10.0 * 0.95**index for index in range(100)])
    panel, axes = curve_panel("run", known), panel_axes(known)
    assert axes.is_log
    rows = []
    for number in (5, 30, 60, 95):
        column = math.floor(axes.x(number) + 0.5)
        rows.append(
            next(y for y in range(axes.top + 1, axes.bottom) if is_near(panel.getpixel((column, y)), SMOOTHED, 30))
        )
    assert rows == sorted(rows)
    assert rows[-1] - rows[0] > (axes.bottom - axes.top) / 2


def test_the_weights_that_are_kept_are_shown():
    both = history([1.0] * 10, [validation(5, "model", low=2.0), validation(5, "ema", low=3.0)])
    panel, axes = curve_panel("run", both), panel_axes(both)
    assert is_near(pixel(panel, axes, 5, 3.0), NOISE_COLOURS["low"])
    assert panel_axes(both).y_max < 4
    assert not is_near(pixel(panel, axes, 5, 2.0), NOISE_COLOURS["low"])


def test_the_legend_names_what_there_is():
    """Each colour appears above the plot if and only if it appears in it."""

    def legend_has(panel, axes, colour):
        box = panel.crop((0, 0, WIDTH, axes.top - 5))
        return colour in {value for _, value in box.getcolors(maxcolors=WIDTH * HEIGHT)}

    plain, full = history([1.0] * 10), history([1.0] * 10, [validation(5, low=2.0)])
    for known, expected in ((plain, False), (full, True)):
        panel, axes = curve_panel("run", known), panel_axes(known)
        assert legend_has(panel, axes, SMOOTHED)
        assert legend_has(panel, axes, NOISE_COLOURS["low"]) == expected
        assert not legend_has(panel, axes, NOISE_COLOURS["high"])


@pytest.mark.parametrize(
    "losses",
    [[], [1.0], [1.0, 1.0], [0.0, 0.0], [-1.0, 2.0], [math.nan], [math.nan, 1.0, math.inf, 2.0], [1e-8, 1e8]],
    ids=str,
)
@pytest.mark.parametrize("y_scale", ["auto", "log", "linear"])
def test_any_losses_can_be_drawn(losses, y_scale):
    panel = curve_panel("run", history(losses), y_scale=y_scale)
    assert panel.size == PANEL_SIZE
    has_curve = SMOOTHED in {colour for _, colour in panel.getcolors(maxcolors=WIDTH * HEIGHT)}
    assert has_curve == any(math.isfinite(loss) for loss in losses)


def test_validation_alone_is_drawn():
    known = History("run", (), (validation(0, low=1.0),))
    assert is_near(pixel(curve_panel("run", known), panel_axes(known), 0, 1.0), NOISE_COLOURS["low"])


def test_several_runs_stand_below_each_other_with_their_own_axes(tmp_path):
    runs = []
    for name, loss in (("one", 1.0), ("two", 50.0)):
        file = MetricsFile(tmp_path / f"{name}.jsonl")
        for number in range(1, 21):
            file.on_step(step(number, loss))
        file.close()
        runs.append((name, tmp_path / f"{name}.jsonl"))
    draw_curves(runs, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as figure:
        assert figure.size == (WIDTH, 2 * HEIGHT)
        axes = panel_axes(history([1.0] * 20))
        row = math.floor(axes.y(1.0) + 0.5)
        for top in (0, HEIGHT):  # each in the middle of its own range
            assert is_near(figure.getpixel((500, top + row)), SMOOTHED)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.png", "one.jsonl", "two.jsonl"]


def test_a_missing_folder_is_said(tmp_path):
    with pytest.raises(OutputError, match="no folder"):
        draw_curves([("a", tmp_path / "a.jsonl")], tmp_path / "missing" / "curve.png")


def test_the_picture_is_renewed_now_and_then(tmp_path):
    now = [0.0]
    picture = tmp_path / "curve.png"
    observer = CurvePicture(tmp_path / "metrics.jsonl", picture, pause_seconds=60, clock=lambda: now[0])
    observer.on_start(RunAbout(name="run", folder=tmp_path, steps=9))
    file = MetricsFile(tmp_path / "metrics.jsonl")
    drawn = []
    for number in range(1, 10):
        now[0] += 25
        file.on_step(step(number, 1.0))
        observer.on_step(step(number, 1.0))
        if picture.exists():
            drawn.append(number)
            picture.unlink()
    assert drawn == [3, 6, 9]
    observer.close()  # nothing new since
    assert not picture.exists()
    observer.on_validation(validation(9, low=1.0))
    observer.close()
    assert picture.exists()
    file.close()


def test_thinning_keeps_what_is_seen():
    points = [(index / 100, float((index * 37) % 101)) for index in range(1000)]
    kept = thinned(points)
    assert len(kept) <= 4 * 10
    assert kept == sorted(kept)
    for column in range(10):
        of = lambda line: [y for x, y in line if math.floor(x) == column]  # noqa: B023, E731
        assert (min(of(kept)), max(of(kept))) == (min(of(points)), max(of(points)))
        assert (of(kept)[0], of(kept)[-1]) == (of(points)[0], of(points)[-1])
    assert thinned(points[::100]) == points[::100]
