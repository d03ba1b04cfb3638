from __future__ import annotations

import math

import pytest

from loom_core.training.watch.axes import (
    Axes,
    linear_ticks,
    log_ticks,
    padded,
    suits_log,
    tick_text,
    value_range,
)

LINEAR = Axes(left=10, right=110, top=20, bottom=220, x_min=0, x_max=50, y_min=1, y_max=3, is_log=False)
LOG = Axes(left=10, right=110, top=20, bottom=220, x_min=0, x_max=50, y_min=0.01, y_max=1, is_log=True)


def test_edges_and_middles():
    assert (LINEAR.x(0), LINEAR.x(25), LINEAR.x(50)) == (10, 60, 110)
    assert (LINEAR.y(1), LINEAR.y(2), LINEAR.y(3)) == (220, 120, 20)
    assert (LOG.y(0.01), LOG.y(1)) == (220, pytest.approx(20))
    assert LOG.y(0.1) == pytest.approx(120)


@pytest.mark.parametrize("axes", [LINEAR, LOG])
def test_what_lies_outside_comes_out_just_outside(axes):
    assert axes.y(1e9) == pytest.approx(0)  # a tenth of the height above the top
    assert axes.y(-5) == pytest.approx(240)


def test_one_spike_does_not_flatten_a_curve():
    values = [0.2 + 0.001 * index for index in range(1000)]
    assert value_range([*values, 1e6]) == pytest.approx((0.2, 1.2), abs=0.01)
    assert value_range([*values, 1e6], always=[7.0])[1] == 7.0
    assert value_range([1.0, 100.0]) == (1.0, 100.0)  # of a few values all are shown


@pytest.mark.parametrize(
    ("values", "expected"), [([], (0.0, 1.0)), ([2.0, 2.0], (1.8, 2.2)), ([0.0], (-0.5, 0.5)), ([-1.0], (-1.1, -0.9))]
)
def test_a_range_is_never_empty(values, expected):
    assert value_range(values) == pytest.approx(expected)


def test_the_margin_is_the_same_to_the_eye():
    assert padded(1.0, 3.0, is_log=False, share=0.1) == pytest.approx((0.8, 3.2))
    low, high = padded(1.0, 100.0, is_log=True, share=0.1)
    assert math.log10(low) == pytest.approx(-0.2)
    assert math.log10(high) == pytest.approx(2.2)


def test_wide_positive_ranges_suit_a_logarithm():
    assert suits_log(0.1, 1.0)
    assert not suits_log(0.5, 1.0)
    assert not suits_log(0.0, 1.0)
    assert not suits_log(-1.0, 100.0)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 100, [0, 20, 40, 60, 80, 100]),
        (0.13, 0.92, [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]),
        (-1, 1, [-1, -0.5, 0, 0.5, 1]),
        (0, 20_000, [0, 5000, 10_000, 15_000, 20_000]),
    ],
)
def test_linear_ticks_are_round(low, high, expected):
    assert linear_ticks(low, high) == pytest.approx(expected)


@pytest.mark.parametrize("high", [1e-4, 0.37, 1.0, 7.3, 99.9, 1e6])
def test_there_are_a_few_linear_ticks_inside_any_range(high):
    for low in (0.0, high * 0.31, high * 0.9):
        ticks = linear_ticks(low, high)
        assert 3 <= len(ticks) <= 9
        assert all(low - 1e-9 <= tick <= high * (1 + 1e-9) for tick in ticks)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.3, 12, [0.5, 1, 2, 5, 10]),
        (1e-5, 10, [1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1, 10]),
        (1e-12, 1e12, [10.0**power for power in range(-12, 13, 3)]),
        (0.45, 0.55, [0.46, 0.48, 0.5, 0.52, 0.54]),
    ],
)
def test_log_ticks_are_round(low, high, expected):
    assert log_ticks(low, high) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.5"), (0.0, "0"), (100.0, "100"), (1000.0, "1k"), (1500.0, "1.5k"), (2.5e6, "2.5M"), (1e-5, "1e-05")],
)
def test_numbers_are_short(value, text):
    assert tick_text(value) == text
