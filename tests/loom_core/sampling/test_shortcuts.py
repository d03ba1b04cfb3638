"""What is left out of a run, what stands in for it, and that nothing is left out unless asked."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from loom_core.config.speed import Shortcuts
from loom_core.sampling.denoise import denoise
from loom_core.sampling.guidance import branch_weights, guided_velocity
from loom_core.sampling.schedule import flow_schedule, partial_schedule
from loom_core.sampling.shortcuts import FIRST_STEPS, Prediction, Reuse, extrapolate, position, shortened_velocity
from loom_core.sampling.solvers import SOLVERS
from loom_core.types import Branch

U, V, F = Branch.UNCONDITIONAL, Branch.VISUAL, Branch.FULL
NOISE = torch.randn(2, 4, 2, 4, 4, generator=torch.Generator().manual_seed(0))
PUSH = {U: 0.2, V: 0.5, F: 0.8}
CASCADE = branch_weights(2.5, 1.5, has_visual=True)
CONDITIONS = {branch: branch for branch in Branch}


class Flow:
    """Velocities that bend with latents and time, each branch's in its own way; counts its calls."""

    def __init__(self):
        self.calls = Counter()

    def __call__(self, latents, timestep, branch):
        self.calls[branch] += 1
        push, time = PUSH[branch], (timestep / 1000).view(-1, 1, 1, 1, 1)
        return torch.tanh(latents * (0.7 + push)) + time * push + 0.2 * latents.mean((2, 3, 4), keepdim=True)


def run(shortcuts, *, weights=None, solver="unipc", schedule=None):
    """(latents, calls by branch)."""
    model, schedule = Flow(), schedule or flow_schedule(50, shift=5.0)
    weights = weights or CASCADE
    velocity = shortened_velocity(
        model, CONDITIONS, weights, dtype=torch.float32, shortcuts=shortcuts, schedule=schedule
    )
    return denoise(velocity, NOISE, schedule=schedule, solver=SOLVERS[solver]), model.calls


def exact(**given):
    return run(Shortcuts(), **given)[0]


def error(found, expected):
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("solver", SOLVERS)
def test_nothing_is_left_out_by_default(solver):
    model, schedule = Flow(), flow_schedule(12, shift=5.0)
    plain = guided_velocity(model, CONDITIONS, CASCADE, dtype=torch.float32)
    expected = denoise(plain, NOISE, schedule=schedule, solver=SOLVERS[solver])
    found, calls = run(Shortcuts(), solver=solver, schedule=schedule)
    assert torch.equal(found, expected)
    assert calls == {U: 12, V: 12, F: 12}


def test_a_threshold_that_is_never_met_computes_the_same():
    """The bookkeeping alone changes no bit."""
    found, calls = run(Shortcuts(reuse_threshold=1e-12))
    assert torch.equal(found, exact())
    assert calls == {U: 50, V: 50, F: 50}


def test_guidance_runs_in_the_first_steps_and_then_every_so_often():
    found, calls = run(Shortcuts(guidance_every=4, guidance_share=0.2))
    assert calls == {U: 20, V: 20, F: 50}  # 10 and 10 of 40
    assert 0 < error(found, exact()) < 0.01


def test_guidance_that_never_runs_again_is_held():
    found, calls = run(Shortcuts(guidance_every=0, guidance_share=0.5))
    assert calls == {U: 25, V: 25, F: 50}
    assert error(found, exact()) > error(run(Shortcuts(guidance_every=4, guidance_share=0.2))[0], exact())


@pytest.mark.parametrize("solver", SOLVERS)
def test_reused_steps_leave_out_all_branches_and_lose_more_the_higher_the_threshold(solver):
    errors, forwards = [], []
    for threshold in (0.02, 0.05, 0.2):
        found, calls = run(Shortcuts(reuse_threshold=threshold), solver=solver)
        assert calls[U] == calls[V] == calls[F] < 50
        errors.append(error(found, exact(solver=solver)))
        forwards.append(calls[F])
    assert errors == sorted(errors) and forwards == sorted(forwards, reverse=True)
    assert errors[1] < 0.01 and forwards[1] < 40


@pytest.mark.parametrize("solver", SOLVERS)
def test_reusing_steps_loses_less_than_taking_as_many_fewer(solver):
    found, calls = run(Shortcuts(reuse_threshold=0.05), solver=solver)
    fewer = exact(solver=solver, schedule=flow_schedule(calls[F], shift=5.0))
    assert error(found, exact(solver=solver)) < 0.5 * error(fewer, exact(solver=solver))


@pytest.mark.parametrize(
    "weights",
    [
        branch_weights(5.0, 1.5, has_visual=False),
        branch_weights(2.5, 1.0, has_visual=True),
        branch_weights(3.0, 3.0, has_visual=True),
        branch_weights(0.0, 2.0, has_visual=True),
        branch_weights(1.0, 1.0, has_visual=True),
    ],
    ids=["text to video", "no unconditional", "no visual", "no full", "full alone"],
)
@pytest.mark.parametrize("shortcuts", [Shortcuts(guidance_every=3), Shortcuts(guidance_every=3, reuse_threshold=0.05)])
def test_branches_without_a_weight_never_run(weights, shortcuts):
    found, calls = run(shortcuts, weights=weights)
    assert set(calls) == set(weights)
    assert error(found, exact(weights=weights)) < 0.03
    if len(weights) > 1 or shortcuts.reuse_threshold:
        assert sum(calls.values()) < 50 * len(weights)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_part_of_a_run_and_short_runs_compute_their_first_steps(steps, solver):
    schedule = partial_schedule(steps, shift=5.0, denoise=0.4)
    found, calls = run(Shortcuts(guidance_every=2, reuse_threshold=10.0), solver=solver, schedule=schedule)
    assert found.isfinite().all()
    assert calls[F] == min(steps, FIRST_STEPS + 1)  # and the last
    if steps <= FIRST_STEPS:
        assert torch.equal(found, exact(solver=solver, schedule=schedule))


def test_a_first_share_of_the_steps_is_computed_whatever_the_threshold():
    _, calls = run(Shortcuts(reuse_threshold=10.0, reuse_after=0.3))
    assert calls == {U: 16, V: 16, F: 16}  # 15 of 50, and the last


def test_the_same_run_makes_the_same_bits():
    shortcuts = Shortcuts(guidance_every=3, reuse_threshold=0.05)
    assert torch.equal(run(shortcuts)[0], run(shortcuts)[0])


def test_latents_that_are_written_into_do_no_harm():
    """A host's sampler may do so."""
    reuse = Reuse(Shortcuts(reuse_threshold=10.0), {F: 1.0}, [0.9, 0.8, 0.7, 0.6, 0.5])
    latents = NOISE.clone()
    for sigma in (0.9, 0.8, 0.7):
        assert reuse.due(latents, sigma) == (F,)
        reuse.complete(sigma, {F: latents * 2})
        latents.add_(0.1)
    moved = reuse._states[F]
    torch.testing.assert_close(moved.latents, NOISE + 0.2)
    assert moved.rate == pytest.approx(2.0, rel=1e-3)
    assert reuse.due(latents, 0.6) == ()


def test_stand_ins_go_on_in_a_straight_line_and_no_further_than_known():
    last, before = Prediction(torch.tensor([3.0]), 0.6), Prediction(torch.tensor([1.0]), 0.8)
    assert float(extrapolate(last, before, 0.5)) == pytest.approx(4.0)
    assert float(extrapolate(last, before, 0.1)) == pytest.approx(5.0)
    assert float(extrapolate(last, before, 0.7)) == pytest.approx(2.0)
    assert float(extrapolate(last, None, 0.5)) == 3.0
    assert float(extrapolate(last, Prediction(torch.tensor([1.0]), 0.6), 0.5)) == 3.0


def test_a_noise_level_between_two_steps_belongs_to_the_one_before():
    sigmas = [0.9, 0.6, 0.3]
    assert [position(sigmas, sigma) for sigma in (1.0, 0.9, 0.7, 0.6, 0.5, 0.3, 0.0)] == [0, 0, 0, 1, 1, 2, 2]
