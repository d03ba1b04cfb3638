"""The loop: reports, cancel, noise, bad numbers."""

from __future__ import annotations

import pytest
import torch

from loom_core.errors import CancelledError, LoomError
from loom_core.sampling.denoise import denoise, initial_noise
from loom_core.sampling.schedule import flow_schedule
from loom_core.sampling.solvers import SOLVERS

NOISE = torch.randn(1, 2, 1, 2, 2, generator=torch.Generator().manual_seed(0))


def test_reports_every_step_with_time_left_and_a_clean_guess():
    reports = []
    schedule = flow_schedule(4, shift=5.0)
    result = denoise(
        lambda latents, _: latents, NOISE, schedule=schedule, solver=SOLVERS["euler"], progress=reports.append
    )
    assert [report.step for report in reports] == [1, 2, 3, 4]
    assert [report.sigma for report in reports] == pytest.approx(schedule.sigmas[1:].tolist())
    assert reports[-1].remaining_seconds == 0
    assert reports[1].remaining_seconds == pytest.approx(reports[1].elapsed_seconds)
    torch.testing.assert_close(reports[-1].clean_latents, result)


def test_the_model_sees_integer_timesteps_of_the_batch():
    seen = []

    def velocity(latents, timestep):
        seen.append(timestep)
        return latents

    denoise(velocity, NOISE.expand(3, -1, -1, -1, -1), schedule=flow_schedule(2, shift=5.0), solver=SOLVERS["unipc"])
    assert [timestep.tolist() for timestep in seen] == [[999] * 3, [833] * 3]


def test_cancel_between_steps():
    steps = []

    def progress(report):
        steps.append(report.step)
        return report.step < 2

    with pytest.raises(CancelledError, match="after step 2 of 5"):
        denoise(lambda x, _: x, NOISE, schedule=flow_schedule(5, shift=5.0), solver=SOLVERS["unipc"], progress=progress)
    assert steps == [1, 2]


def test_numbers_that_are_not_finite_are_refused():
    with pytest.raises(LoomError, match="not finite"):
        denoise(lambda x, _: x * torch.inf, NOISE, schedule=flow_schedule(2, shift=5.0), solver=SOLVERS["unipc"])


def test_state_is_float32_whatever_the_noise():
    result = denoise(lambda x, _: x, NOISE.bfloat16(), schedule=flow_schedule(2, shift=5.0), solver=SOLVERS["unipc"])
    assert result.dtype == torch.float32


def test_noise_is_a_function_of_the_seed():
    first = initial_noise((1, 2, 3), seed=5)
    assert torch.equal(first, initial_noise((1, 2, 3), seed=5))
    assert not torch.equal(first, initial_noise((1, 2, 3), seed=6))
