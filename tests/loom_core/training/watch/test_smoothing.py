from __future__ import annotations

import math

import pytest

from loom_core.training.watch.smoothing import RunningMean, smoothed


def test_a_constant_is_its_own_mean_from_the_first_value():
    assert smoothed([3.0] * 5, window=50) == pytest.approx([3.0] * 5)


def test_a_window_of_one_is_the_value_itself():
    assert smoothed([1.0, 5.0, 2.0], window=1) == [1.0, 5.0, 2.0]


def test_the_mean_by_hand():
    # decay 1/2: (1/2 * 1 + 3) / (1/2 + 1)
    assert smoothed([1.0, 3.0], window=2) == pytest.approx([1.0, 7 / 3])


def test_the_last_window_weighs_about_two_thirds():
    values = [0.0] * 5000 + [1.0] * 100
    assert smoothed(values, window=100)[-1] == pytest.approx(1 - math.exp(-1), abs=0.01)


def test_what_is_not_finite_is_left_out():
    mean = RunningMean(10)
    assert math.isnan(mean.mean)
    assert math.isnan(mean.add(math.inf))
    mean.add(2.0)
    assert mean.add(math.nan) == 2.0
