"""Solvers: step by step against diffusers, and their order of convergence."""

from __future__ import annotations

import math

import pytest
import torch

from loom_core.errors import ConfigError
from loom_core.sampling.denoise import denoise
from loom_core.sampling.schedule import flow_schedule
from loom_core.sampling.solvers import SOLVERS, get_solver

MIX = 0.5 * torch.randn(6, 6, generator=torch.Generator().manual_seed(0))


def nonlinear_velocity(latents, timestep):
    return 2 * torch.tanh(latents @ MIX) + 0.3 * latents + float(timestep.flatten()[0]) / 1000


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 9, 16, 50])
@pytest.mark.parametrize("name", ["unipc", "dpmpp_2m"])
def test_equals_diffusers_step_by_step(name, steps):
    diffusers = pytest.importorskip("diffusers", reason="diffusers is an extra")
    kinds = {"unipc": diffusers.UniPCMultistepScheduler, "dpmpp_2m": diffusers.DPMSolverMultistepScheduler}
    scheduler = kinds[name](
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0, solver_order=2, lower_order_final=True
    )
    scheduler.set_timesteps(steps)
    theirs = ours = torch.randn(2, 3, 4, 5, 6, generator=torch.Generator().manual_seed(1))
    history = None
    for step, timestep in enumerate(scheduler.timesteps):
        theirs = scheduler.step(nonlinear_velocity(theirs, timestep), timestep, theirs, return_dict=False)[0]
        velocity = nonlinear_velocity(ours, timestep)
        result = get_solver(name)(ours, velocity, sigmas=scheduler.sigmas, step=step, history=history)
        ours, history = result.latents, result.history
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def error_of(solver, steps):
    """Distance to the exact end of a flow whose data is a Gaussian of standard deviation 0.5.

    Its velocity is known in closed form, so is where each noise sample ends: at noise * 0.5.
    """
    schedule = flow_schedule(steps, shift=1.0)
    noise = torch.randn(1, 1, 1, 8, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    latents, history = noise, None
    for step in range(steps):
        sigma = float(schedule.sigmas[step])
        variance = (1 - sigma) ** 2 * 0.25 + sigma**2
        velocity = (sigma - (1 - sigma) * 0.25) / variance * latents
        result = solver(latents, velocity, sigmas=schedule.sigmas, step=step, history=history)
        latents, history = result.latents, result.history
    return (latents - 0.5 * noise).abs().mean().item()


@pytest.mark.parametrize(("name", "least_order"), [("euler", 0.9), ("dpmpp_2m", 1.5), ("unipc", 1.5)])
def test_order_of_convergence(name, least_order):
    coarse, fine = error_of(SOLVERS[name], 40), error_of(SOLVERS[name], 80)
    assert math.log2(coarse / fine) > least_order


def test_second_order_beats_first_and_the_corrector_helps():
    errors = {name: error_of(solver, 20) for name, solver in SOLVERS.items()}
    assert errors["unipc"] < errors["dpmpp_2m"] < errors["euler"]


@pytest.mark.parametrize("name", SOLVERS)
def test_one_step_lands_on_the_prediction(name):
    """From noise to sigma 0 at once: the result is the clean prediction."""
    noise = torch.randn(1, 2, 1, 2, 2)
    clean = torch.randn(1, 2, 1, 2, 2)
    schedule = flow_schedule(1, shift=5.0)
    sigma = float(schedule.sigmas[0])
    end = denoise(lambda latents, _: (latents - clean) / sigma, noise, schedule=schedule, solver=SOLVERS[name])
    torch.testing.assert_close(end, clean, atol=1e-5, rtol=1e-5)


def test_unknown_solver_is_refused():
    with pytest.raises(ConfigError, match="one of unipc, dpmpp_2m, euler"):
        get_solver("heun")
