"""Shapes and textures: each looks like itself and like no other."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from loom_core.data.world.shapes import DISTANCES, PERIOD, pattern_tone, texture_tone
from loom_core.data.world.words import PATTERNS, SHAPES, TEXTURES

SIDE = np.linspace(-1.2, 1.2, 49, dtype=np.float32)
Y, X = SIDE[:, None], SIDE[None]
AREAS = {shape: DISTANCES[shape](X, Y) < 0 for shape in SHAPES}


def test_every_shape_has_a_distance():
    assert tuple(DISTANCES) == SHAPES


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(SHAPES, 2)))
def test_any_two_shapes_differ_in_a_good_part_of_their_area(one, other):
    differing = (AREAS[one] ^ AREAS[other]).sum()
    assert differing > 0.15 * max(AREAS[one].sum(), AREAS[other].sum())


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_have_about_the_same_size(shape):
    within = np.abs(SIDE) < 1.15
    assert AREAS[shape].sum() == AREAS[shape][np.ix_(within, within)].sum()
    assert 0.08 < AREAS[shape].mean() < 0.5


@pytest.mark.parametrize("shape", SHAPES)
def test_a_distance_grows_by_at_most_one_a_step(shape):
    """So that edges are about a pixel wide, not many."""
    distance = DISTANCES[shape](X, Y)
    step = SIDE[1] - SIDE[0]
    assert np.abs(np.diff(distance, axis=0)).max() <= 1.6 * step
    assert np.abs(np.diff(distance, axis=1)).max() <= 1.6 * step


def test_known_points():
    inside = {"circle": (0, 0), "square": (0.7, 0.7), "triangle": (0, 0.5), "star": (0, -0.9), "ring": (0.7, 0)}
    outside = {"circle": (0.7, 0.7), "ring": (0, 0), "cross": (0.7, 0.7), "moon": (0.6, 0), "triangle": (0.7, -0.5)}
    for points, is_inside in ((inside, True), (outside, False)):
        for shape, (x, y) in points.items():
            value = DISTANCES[shape](np.float32([[x]]), np.float32([[y]]))
            assert bool(value[0, 0] < 0) == is_inside, shape


@pytest.mark.parametrize(("names", "tone"), [(TEXTURES, texture_tone), (PATTERNS, pattern_tone)])
def test_textures_and_patterns_differ(names, tone):
    y, x = np.mgrid[-26:27, -26:27].astype(np.float32) * (2 if tone is pattern_tone else 1)
    tones = [np.broadcast_to(tone(name, x, y), x.shape) for name in names]
    assert all(values.min() > 0 and values.max() <= 1.3 for values in tones)
    for one, other in itertools.combinations(tones, 2):
        assert np.abs(one - other).mean() > 0.1


@pytest.mark.parametrize("pattern", PATTERNS[1:])
def test_every_token_sees_the_same_pattern(pattern):
    """Its 32 pixels are the same wherever it stands, so that it can be drawn without knowing where."""
    middles = np.arange(128, dtype=np.float32) + 0.5 - 64
    tone = np.broadcast_to(pattern_tone(pattern, middles[None], middles[:, None]), (128, 128))
    tokens = tone.reshape(4, PERIOD, 4, PERIOD).transpose(0, 2, 1, 3)
    assert PERIOD == 32
    assert np.abs(tokens - tokens[0, 0]).max() < 1e-4
    assert np.ptp(tokens) > 0.3
