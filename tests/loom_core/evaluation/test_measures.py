"""Measures on clips whose numbers are known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from loom_core.data.world.edits import Ask, with_thing
from loom_core.evaluation.measures import flicker, motion_agreement, psnr, sharpness, unchanged_psnr


def test_decibels():
    assert psnr(255.0**2) == 0
    assert psnr(255.0**2 / 100) == pytest.approx(20)
    assert psnr(0.0) == math.inf


def test_only_what_may_not_change_counts(scene, paint):
    recoloured = with_thing(scene, 0, replace(scene.things[0], rgb=(40, 60, 220)))
    source, truth = paint(scene), paint(recoloured)
    assert unchanged_psnr(truth, source=source, truth=truth) == math.inf
    off = truth.clone()
    off[:, 20:40, 20:40] = 0  # inside the square, which is to change
    assert unchanged_psnr(off, source=source, truth=truth) == math.inf
    assert unchanged_psnr(truth + 10, source=source, truth=truth) == pytest.approx(psnr(100.0))


def test_where_all_changes_nothing_is_unchanged(scene, paint):
    truth = paint(replace(scene, style="negative"))
    assert unchanged_psnr(truth, source=paint(scene), truth=truth) is None


def test_motion_agrees_whatever_the_colours(edit, scene, paint):
    recoloured = with_thing(scene, 1, replace(scene.things[1], rgb=(40, 60, 220)))
    request = edit("recolour", scene, recoloured, Ask("colour", 1))
    assert motion_agreement(paint(recoloured), request) == pytest.approx(1)
    assert motion_agreement(paint(scene), request) > 0.95


def test_motion_elsewhere_or_none_does_not_agree(edit, scene, paint):
    request = edit("keep", scene, scene)
    aside = with_thing(scene, 1, replace(scene.things[1], motion="moves left"))
    still = with_thing(scene, 1, replace(scene.things[1], motion="stays still"))
    assert motion_agreement(paint(aside), request) < 0.6
    assert motion_agreement(paint(still), request) == 0


def test_motion_is_undefined_where_nothing_is_to_move_or_motion_itself_is_asked(edit, scene, paint):
    still = with_thing(scene, 1, replace(scene.things[1], motion="stays still"))
    assert motion_agreement(paint(still), edit("keep", still, still)) is None
    assert motion_agreement(paint(scene, num_frames=1), edit("keep", scene, scene)) is None
    assert motion_agreement(paint(scene), edit("motion", still, scene, Ask("motion", 1))) is None


def test_flicker_is_what_changes_where_nothing_should(scene, paint):
    truth = paint(scene)
    blinking = truth.clone()
    blinking[1::2] += 6  # every second frame is brighter
    assert flicker(truth, truth=truth) == 0
    assert flicker(blinking, truth=truth) == pytest.approx(6)
    assert flicker(truth[:1], truth=truth[:1]) is None


def test_a_blur_is_less_sharp(scene, paint):
    truth = paint(scene)
    padded = functional.pad(truth.float().permute(0, 3, 1, 2), (2, 2, 2, 2), mode="replicate")
    blurred = functional.avg_pool2d(padded, 5, stride=1).permute(0, 2, 3, 1).to(torch.uint8)
    assert sharpness(truth, truth=truth) == pytest.approx(1)
    assert sharpness(blurred, truth=truth) < 0.7
