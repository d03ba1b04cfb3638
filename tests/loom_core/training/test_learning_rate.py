"""The rate of every step."""

from __future__ import annotations

from itertools import pairwise

import pytest

from loom_core.config.training import OptimiserSettings
from loom_core.training.learning_rate import learning_rate


def test_an_even_rise_then_constant():
    settings = OptimiserSettings(lr=2e-5, warmup=1000)
    rates = [learning_rate(step, settings, steps=5000) for step in (1, 500, 999, 1000, 1001, 5000)]
    assert rates == pytest.approx([2e-8, 1e-5, 1.998e-5, 2e-5, 2e-5, 2e-5])


def test_no_warm_up():
    assert learning_rate(1, OptimiserSettings(lr=1.0, warmup=0), steps=10) == 1.0


def test_a_cosine_ends_at_its_last_rate():
    settings = OptimiserSettings(lr=1.0, warmup=10, decay="cosine", final_lr=0.1)
    rates = [learning_rate(step, settings, steps=110) for step in range(1, 111)]
    assert rates[9] == pytest.approx(1.0)
    assert rates[59] == pytest.approx(0.55)
    assert rates[-1] == pytest.approx(0.1)
    assert all(later <= earlier for earlier, later in pairwise(rates[9:]))


def test_a_run_that_goes_on_past_its_end_stays_at_the_last_rate():
    settings = OptimiserSettings(lr=1.0, warmup=0, decay="cosine")
    assert learning_rate(200, settings, steps=100) == pytest.approx(0.0)


def test_a_cosine_over_the_last_steps_alone():
    settings = OptimiserSettings(lr=1.0, warmup=10, decay="cosine", decay_steps=40)
    rates = [learning_rate(step, settings, steps=100) for step in range(1, 101)]
    assert rates[9:60] == [1.0] * 51
    assert rates[79] == pytest.approx(0.5)
    assert rates[-1] == pytest.approx(0.0)
