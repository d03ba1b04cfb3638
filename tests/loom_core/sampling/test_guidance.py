"""Cascaded guidance as weights, and which branches run."""

from __future__ import annotations

import pytest
import torch

from loom_core.sampling.guidance import branch_weights, combine, guided_velocity
from loom_core.types import Branch

U, V, F = Branch.UNCONDITIONAL, Branch.VISUAL, Branch.FULL


@pytest.mark.parametrize(
    ("text", "visual", "has_visual", "branches"),
    [
        (2.5, 1.5, True, {U, V, F}),
        (2.5, 1.0, True, {V, F}),
        (3.0, 3.0, True, {U, F}),
        (1.0, 1.0, True, {F}),
        (0.5, 0.7, True, {F}),
        (1.0, 1.5, False, {F}),
        (5.0, 1.5, False, {U, F}),
        (0.0, 2.0, True, {U, V}),
    ],
)
def test_void_branches_are_left_out_and_the_rest_equals_the_formula(text, visual, has_visual, branches):
    weights = branch_weights(text, visual, has_visual=has_visual)
    assert set(weights) == branches
    assert sum(weights.values()) == pytest.approx(1)
    u, v, f = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    if text <= 1 and visual <= 1:
        expected = f
    elif has_visual:
        expected = u + visual * (v - u) + text * (f - v)
    else:
        expected = u + text * (f - u)
    torch.testing.assert_close(combine({U: u, V: v, F: f}, weights).double(), expected, atol=1e-5, rtol=1e-5)


def test_only_weighted_branches_are_computed():
    seen = []

    def model(latents, timestep, condition):
        assert latents.dtype == torch.bfloat16
        seen.append(condition)
        return latents * 0 + {"u": 1.0, "v": 2.0, "f": 4.0}[condition]

    weights = branch_weights(2.0, 1.0, has_visual=True)
    velocity = guided_velocity(model, {U: "u", V: "v", F: "f"}, weights, dtype=torch.bfloat16)
    result = velocity(torch.zeros(1, 2), torch.tensor([1]))
    assert seen == ["v", "f"]
    assert result.dtype == torch.float32
    assert torch.equal(result, torch.full((1, 2), 2.0 + 2.0 * (4.0 - 2.0)))


def test_a_model_that_can_is_given_all_branches_together():
    class Together:
        def __call__(self, latents, timestep, conditions):
            raise AssertionError("one by one")

        def together(self, latents, timestep, conditions):
            assert conditions == ["u", "v", "f"] and latents.dtype == torch.bfloat16
            return [latents * 0 + value for value in (1.0, 2.0, 4.0)]

    weights = branch_weights(2.0, 1.5, has_visual=True)
    velocity = guided_velocity(Together(), {U: "u", V: "v", F: "f"}, weights, dtype=torch.bfloat16)
    result = velocity(torch.zeros(1, 2), torch.tensor([1]))
    assert torch.equal(result, torch.full((1, 2), 1.0 + 1.5 * (2.0 - 1.0) + 2.0 * (4.0 - 2.0)))
