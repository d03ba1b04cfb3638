"""Schedules against diffusers, and the shift by tokens."""

from __future__ import annotations

import pytest
import torch

from loom_core.config.sampling import SamplingConfig
from loom_core.errors import ConfigError
from loom_core.sampling.schedule import (
    floor_safe_sigmas,
    flow_schedule,
    partial_schedule,
    schedule_for,
    token_shift,
)


@pytest.mark.parametrize("shift", [1.0, 3.0, 5.0, 8.0])
def test_equals_diffusers_for_every_step_count(shift):
    diffusers = pytest.importorskip("diffusers", reason="diffusers is an extra")
    scheduler = diffusers.UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift, solver_order=2
    )
    for steps in [*range(1, 60), 100, 250, 999, 1000]:
        scheduler.set_timesteps(steps)
        schedule = flow_schedule(steps, shift=shift)
        assert torch.equal(schedule.timesteps, scheduler.timesteps), steps
        torch.testing.assert_close(schedule.sigmas, scheduler.sigmas, atol=1e-6, rtol=0)


def test_timesteps_are_integers_from_999_and_sigmas_end_at_zero():
    schedule = flow_schedule(50, shift=5.0)
    assert schedule.timesteps.dtype == torch.int64
    assert schedule.timesteps[0] == 999
    assert schedule.sigmas[-1] == 0
    assert (schedule.sigmas.diff() < 0).all()
    assert schedule.num_steps == 50


def test_shift_follows_tokens_when_asked():
    """Numbers of the published rule: 480p and 97 frames 4.63, a 256 x 256 image 1."""
    assert token_shift(9750) == pytest.approx(4.63, abs=0.01)
    assert token_shift(64) == 1.0
    assert token_shift(576, scale=0.65) == pytest.approx(3.06, abs=0.01)
    assert token_shift(10**9) == 8.0
    by_tokens = schedule_for(SamplingConfig(num_inference_steps=4, shift=None), num_tokens=64)
    assert torch.equal(by_tokens.sigmas, flow_schedule(4, shift=1.0).sigmas)
    fixed = schedule_for(SamplingConfig(num_inference_steps=4), num_tokens=64)
    assert torch.equal(fixed.sigmas, flow_schedule(4, shift=5.0).sigmas)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"num_inference_steps": -3}, "-3 steps; expected 1 to 1000"),
        ({"num_inference_steps": 1001}, "1001 steps"),
        ({"guidance_scale": float("nan")}, "guidance_scale nan"),
        ({"guidance_scale": -1}, "guidance_scale -1"),
        ({"visual_guidance_scale": 31}, "expected 0 to 30"),
        ({"shift": 0.0}, "shift 0.0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        SamplingConfig(**settings)


def test_no_steps_are_refused():
    with pytest.raises(ConfigError, match="0 steps"):
        flow_schedule(0, shift=5.0)


def test_a_part_is_the_tail_of_a_longer_run():
    part, whole = partial_schedule(10, shift=5.0, denoise=0.4), flow_schedule(25, shift=5.0)
    assert torch.equal(part.sigmas, whole.sigmas[-11:])
    assert torch.equal(part.timesteps, whole.timesteps[-10:])
    everything = partial_schedule(10, shift=5.0, denoise=1.0)
    assert torch.equal(everything.sigmas, flow_schedule(10, shift=5.0).sigmas)


@pytest.mark.parametrize(("denoise", "words"), [(0.0, "denoise 0;"), (1.5, "denoise 1.5"), (0.01, "the tail of 5000")])
def test_parts_that_make_no_sense_are_refused(denoise, words):
    with pytest.raises(ConfigError, match=words):
        partial_schedule(50, shift=5.0, denoise=denoise)


@pytest.mark.parametrize("shift", [0.5, 1.0, 2.0, 3.0, 5.0, 8.0])
def test_timesteps_come_back_from_sigmas_by_floor(shift):
    for steps in [*range(1, 101), 250, 999, 1000]:
        schedule = flow_schedule(steps, shift=shift)
        sigmas = floor_safe_sigmas(schedule)
        assert torch.equal((sigmas[:-1] * 1000).floor().long(), schedule.timesteps), steps
        torch.testing.assert_close(sigmas, schedule.sigmas, atol=1e-6, rtol=0)
        assert (sigmas.diff() < 0).all()


def test_some_timesteps_do_not_come_back_from_plain_sigmas():
    """Or the one before would be needless."""
    schedule = flow_schedule(9, shift=1.0)
    assert not torch.equal((schedule.sigmas[:-1] * 1000).floor().long(), schedule.timesteps)
