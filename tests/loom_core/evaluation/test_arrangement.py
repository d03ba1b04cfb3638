"""All things of a new picture are found as one, wherever words let them be, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from loom_core.data.world.render import render
from loom_core.data.world.scene import Background, Scene, Thing
from loom_core.evaluation.arrangement import best_shift, room, shifted


@pytest.fixture
def pair(square):
    """A large square at the top left, and a small ring below and right of it."""
    ring = Thing("ring", "cyan", (60, 205, 215), size="small", place="middle")
    return Scene((square, ring), Background("grey", (125, 125, 125), "checkered"))


def test_room_is_what_the_places_leave(pair, square):
    assert room(pair) == ((0.0, 32.0), (0.0, 32.0))
    assert room(replace(pair, things=(replace(square, place="right"),))) == ((-64.0, 0.0), (-32.0, 32.0))


def test_all_things_are_shifted_and_nothing_else(pair):
    one = with_offsets(pair, (1.0, 2.0), (1.0, 2.0))
    assert shifted(one, 8.0, -4.0) == with_offsets(pair, (9.0, -2.0), (9.0, -2.0))


def with_offsets(scene, *offsets):
    return replace(
        scene, things=tuple(replace(thing, offset=at) for thing, at in zip(scene.things, offsets, strict=True))
    )


@pytest.mark.parametrize("size", [(128, 128), (160, 96)])
@pytest.mark.parametrize("shift", [(0, 0), (4, 28), (32, 0), (32, 32)])
@pytest.mark.parametrize("style", ["none", "dark"])
def test_the_shift_is_found(pair, size, shift, style):
    scene = replace(pair, style=style)
    width, height = size
    picture = render(shifted(scene, *shift), num_frames=1, width=width, height=height).frames[0]
    assert best_shift(scene, picture) == shift


def test_it_is_found_to_the_grid_and_in_other_shades(pair):
    moved = shifted(pair, 14.5, 10.0)
    pale = replace(
        moved,
        things=tuple(replace(thing, rgb=tuple(value - 20 for value in thing.rgb)) for thing in moved.things),
        background=replace(moved.background, rgb=(110, 118, 115)),
    )
    x, y = best_shift(pair, render(pale, num_frames=1).frames[0])
    assert abs(x - 14.5) <= 2
    assert abs(y - 10.0) <= 2


def test_a_camera_that_moves_is_in_its_middle(pair):
    scene = replace(pair, camera="zooms in")
    frames = render(shifted(scene, 16.0, 20.0), num_frames=9).frames
    assert best_shift(scene, frames[4]) == (16.0, 20.0)


def test_a_picture_of_nothing_has_a_shift_within_the_room(pair):
    x, y = best_shift(pair, torch.full((128, 128, 3), 125, dtype=torch.uint8))
    assert 0 <= x <= 32
    assert 0 <= y <= 32
