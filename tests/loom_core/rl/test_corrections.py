"""Corrections: from any point the velocity that leads to the target is right, and nothing else is."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from loom_core.rl.corrections import correction, is_corrected
from loom_core.rl.nft import clean_error
from loom_core.rl.points import Point
from loom_core.rl.rollout import Rollout
from loom_core.training.flow import noised_latents, velocity_target


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("level", [0.05, 0.5, 0.99])
def test_the_velocity_that_leads_to_the_target_has_no_error(generator, level):
    latents, target = (torch.randn(2, 1, 3, 4, generator=generator) for _ in range(2))
    point = Point(rollout=0, latents=latents, timestep=1000 * level)
    leading = ((latents - target) / level).requires_grad_()
    assert float(correction(leading, point, target).detach()) == pytest.approx(0, abs=1e-6)
    off = (leading.detach() + 0.1).requires_grad_()
    error = correction(off, point, target)
    error.backward()
    assert float(error.detach()) == pytest.approx(0.1 * level, rel=1e-3)  # of mean size and square of the same number
    assert bool((off.grad > 0).all())  # down is toward the target


def test_on_the_way_to_the_target_itself_it_is_flow_matching(generator):
    target, noise, velocity = (torch.randn(2, 1, 3, 4, generator=generator) for _ in range(3))
    level = torch.tensor(0.6)
    point = Point(rollout=0, latents=noised_latents(target, noise, level), timestep=600.0)
    wanted = clean_error(velocity, velocity_target(target, noise), level=0.6)
    torch.testing.assert_close(correction(velocity, point, target), wanted, rtol=1e-2, atol=0)  # t is 0.001 from 0


@pytest.mark.parametrize(
    ("has_source", "is_target", "is_right"), [(True, False, True), (False, False, False), (False, True, True)]
)
def test_what_words_alone_ask_for_has_no_single_right_answer(make_prompt, has_source, is_target, is_right):
    sample = make_prompt().sample
    sample = replace(sample, source=sample.target if has_source else None)
    assert is_corrected(Rollout(prompt=0, sample=sample, seed=0, clean=sample.target, is_target=is_target)) == is_right
