"""Advantages: zero without contrast, of unit size with it; goodness is a half at zero."""

from __future__ import annotations

import pytest
import torch

from loom_core.rl.advantages import advantages, goodness, has_contrast


@pytest.mark.parametrize("scale", ["group", "all", "none"])
def test_a_constant_group_has_exactly_no_advantages(scale):
    rewards = torch.tensor([[0.1] * 7, [0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0]])
    found = advantages(rewards, scale=scale)
    assert torch.equal(found[0], torch.zeros(7))
    assert bool((found[1] != 0).all())
    assert has_contrast(rewards).tolist() == [False, True]


def test_groups_are_centred_and_of_unit_size():
    rewards = torch.rand(3, 16, generator=torch.Generator().manual_seed(0)) * torch.tensor([[1.0], [5.0], [0.2]])
    found = advantages(rewards)
    torch.testing.assert_close(found.mean(dim=1), torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(found.std(dim=1, correction=0), torch.ones(3), atol=3e-3, rtol=0)


def test_the_scale_of_all_groups_keeps_the_differences_between_them():
    rewards = torch.tensor([[0.0, 2.0], [0.0, 4.0]])
    found = advantages(rewards, scale="all")
    assert float(found[1, 1]) == pytest.approx(2 * float(found[0, 1]))
    assert advantages(rewards, scale="none").tolist() == [[-1, 1], [-2, 2]]


def test_a_shift_changes_nothing_and_outliers_are_clipped():
    rewards = torch.tensor([[0.0] * 99 + [1.0]])
    found = advantages(rewards, clip=5.0)
    torch.testing.assert_close(advantages(rewards + 3), found, rtol=1e-3, atol=1e-4)
    assert float(found.max()) == 5.0


def test_goodness():
    found = goodness(torch.tensor([-9.0, -5.0, 0.0, 2.5, 5.0]), clip=5.0)
    assert found.tolist() == [0.0, 0.0, 0.5, 0.75, 1.0]
