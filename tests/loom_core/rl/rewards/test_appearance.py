"""Rewards from pixels: an edit that leaves the rest, sharpness, motion."""

from __future__ import annotations

import pytest
import torch

from loom_core.rl.rewards.appearance import graded, motion, motion_guard, preservation, sharpness_guard


@pytest.fixture
def clip():
    """Noise of soft blocks that drifts."""
    generator = torch.Generator().manual_seed(0)
    still = torch.rand(1, 3, 5, 9, generator=generator)
    wide = torch.nn.functional.interpolate(still, (40, 72), mode="bilinear")[0].permute(1, 2, 0) * 255
    return torch.stack([wide[:, 4 * index : 4 * index + 40] for index in range(5)]).byte()


def edited(clip, level):
    frames = clip.clone()
    frames[:, 10:20, 10:20] = level
    return frames


def test_preservation_looks_only_where_nothing_was_to_change(clip, make_outcome):
    truth = edited(clip, 255)
    right, other_edit = (
        make_outcome(truth, truth=truth, source=clip),
        make_outcome(edited(clip, 0), truth=truth, source=clip),
    )
    spoiled = truth.clone()
    spoiled[:, 28:] = 255 - spoiled[:, 28:]
    dull = (truth.float() * 0.9).byte()
    found = preservation([right, other_edit, make_outcome(dull, truth=truth, source=clip),
                          make_outcome(spoiled, truth=truth, source=clip)]).tolist()  # fmt: skip
    assert found[0] == found[1] == 1.0
    assert 1 > found[2] > found[3] > 0


def test_preservation_has_nothing_to_say_without_a_source_or_where_all_changes(clip, make_outcome):
    outcomes = [make_outcome(clip), make_outcome(clip, truth=255 - clip // 2, source=clip // 2)]
    assert preservation(outcomes).tolist() == [0, 0]


def test_sharpness_falls_with_blur_and_with_noise(clip, make_outcome):
    blurred = torch.nn.functional.avg_pool2d(clip.permute(0, 3, 1, 2).float(), 5, stride=1, padding=2)
    blurred = blurred.permute(0, 2, 3, 1).byte()
    noise = torch.randint(-20, 20, clip.shape, generator=torch.Generator().manual_seed(1))
    noisy = (clip.int() + noise).clamp(0, 255).byte()
    found = sharpness_guard([make_outcome(each, truth=clip) for each in (clip, blurred, noisy)])
    assert float(found[0]) == 1
    assert float(found[1:].max()) < 0.8


def test_motion_falls_when_a_clip_freezes_or_jumps(clip, make_outcome):
    frozen = clip[:1].expand(5, -1, -1, -1)
    jumping = clip[[0, 4, 0, 4, 0]]
    outcomes = [make_outcome(each, truth=clip) for each in (clip, frozen, jumping)]
    found = motion_guard(outcomes).tolist()
    assert found[0] == 1
    assert found[1] == 0
    assert found[2] < 0.9
    assert motion_guard([make_outcome(clip[:1]), make_outcome(frozen)]).tolist() == [0, 0]
    assert motion(clip[:1]) == 0


def test_decibels_as_a_reward():
    assert [graded(decibels) for decibels in (0.0, 10.0, 25.0, 40.0, float("inf"))] == [0, 0, 0.5, 1, 1]
