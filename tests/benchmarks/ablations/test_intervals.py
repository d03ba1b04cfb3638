import math

import pytest

from benchmarks.ablations.intervals import QUANTILES, difference, estimate


@pytest.mark.parametrize("freedom", range(1, len(QUANTILES) + 1))
def test_quantiles_leave_a_fortieth_above(freedom):
    """The density of Student's t, summed from 0 to the quantile, is 0.475."""
    scale = math.gamma((freedom + 1) / 2) / (math.sqrt(freedom * math.pi) * math.gamma(freedom / 2))
    steps = 20000
    width = QUANTILES[freedom - 1] / steps
    total = sum((1 + ((place + 0.5) * width) ** 2 / freedom) ** (-(freedom + 1) / 2) for place in range(steps))
    assert scale * width * total == pytest.approx(0.475, abs=2e-5)


def test_interval_of_three():
    found = estimate([1.0, 2.0, 3.0])
    assert found.mean == 2.0 and found.count == 3
    assert found.half == pytest.approx(4.303 / math.sqrt(3))
    assert not found.is_apart_from_zero


def test_one_value_has_no_interval():
    found = estimate([5.0])
    assert found.half is None and not found.is_apart_from_zero


@pytest.mark.parametrize("count", [0, 12])
def test_other_counts_are_refused(count):
    with pytest.raises(ValueError, match=f"{count} values"):
        estimate([1.0] * count)


def test_differences_are_taken_at_equal_seeds():
    """Seeds that differ a lot from each other do not hide a difference that all of them have."""
    found = difference({0: 1.1, 1: 5.2, 2: 9.1, 7: 100.0}, {0: 1.0, 1: 5.0, 2: 9.0, 5: 0.0})
    assert found.mean == pytest.approx(0.4 / 3) and found.count == 3
    assert found.half == pytest.approx(4.303 * 0.0577350 / math.sqrt(3), rel=1e-4)
    assert difference({0: 1.0}, {1: 1.0}) is None
