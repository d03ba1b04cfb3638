"""Busy scenes: many things, the largest behind, all of them drawable."""

from __future__ import annotations

import random

import torch

from loom_core.data.world.busy import busy_scene
from loom_core.data.world.render import render

SCENES = [busy_scene(random.Random(seed)) for seed in range(30)]


def test_many_things_from_large_to_small():
    for scene in SCENES:
        scales = [thing.scale for thing in scene.things]
        assert 6 <= len(scales) <= 16
        assert scales == sorted(scales, reverse=True)


def test_colours_are_colours_and_vary():
    shades = {thing.rgb for scene in SCENES for thing in scene.things}
    assert len(shades) > 200
    assert all(0 <= value <= 255 for rgb in shades for value in rgb)


def test_the_same_for_a_seed():
    assert busy_scene(random.Random(3)) == SCENES[3]


def test_much_of_the_picture_is_covered():
    covered = [(render(scene, num_frames=1).masks.sum(0) > 0).float().mean() for scene in SCENES[:8]]
    assert float(torch.stack(covered).mean()) > 0.3
