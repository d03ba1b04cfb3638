"""Strength written as text, without ComfyUI."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def source_mask(stand_in):
    return stand_in("nodes.adapter.media.source_mask")


@pytest.fixture(scope="module")
def errors(stand_in):
    return stand_in("loom_core.errors")


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("", ()),
        (" , ", ()),
        ("1:1", ((1.0, 1.0),)),
        ("0:0.25; 1:1\n0.5:0.8", ((1.0, 1.0), (0.5, 0.8), (0.0, 0.25))),
    ],
)
def test_curves(source_mask, text, points):
    assert source_mask.parse_curve(text) == points


@pytest.mark.parametrize("text", ["1", "1:", "1:2:3", "1.5:1", "-0.1:1", "0.5:-1", "0.5:11", "nan:1", "1:nan", "x:y"])
def test_points_that_make_no_sense(source_mask, errors, text):
    with pytest.raises(errors.ConfigError, match="in strength_curve; expected sigma:factor"):
        source_mask.parse_curve(text)


def test_a_sigma_twice(source_mask, errors):
    with pytest.raises(errors.ConfigError, match=r"sigma 0\.5 twice"):
        source_mask.parse_curve("0.5:1, 0.50:0.8")


@pytest.mark.parametrize("strength", [-0.1, float("nan"), float("inf"), 11.0])
def test_strengths_that_make_no_sense(source_mask, errors, strength):
    with pytest.raises(errors.ConfigError, match="strength"):
        source_mask.check_strength(strength)
    source_mask.check_strength(1.0)
