"""Solvers and schedule in the host's own loop."""

from __future__ import annotations

import pytest
import torch


@pytest.mark.parametrize("solver", ["unipc", "dpmpp_2m", "euler"])
@pytest.mark.parametrize("steps", [1, 2, 3, 12])
def test_a_run_equals_loom_core(part, guide, make_model, sampler, run, noise, velocity, solver, steps):
    schedule = part("loom_core.sampling.schedule").flow_schedule(steps, shift=5.0)
    model = make_model(integer_timesteps=True)
    guider = guide(2.5, 1.5, on=model)
    result = run(guider, sampler.flow_sampler(solver), sampler.flow_sigmas(steps, shift=5.0))
    expected = part("loom_core.sampling.denoise").denoise(
        velocity(guider.weights), noise, schedule=schedule, solver=part("loom_core.sampling.solvers").get_solver(solver)
    )
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=0)
    told = list(dict.fromkeys(timesteps[0] for _, timesteps, _ in model.model.diffusion_model.calls))
    assert told == schedule.timesteps.tolist()


@pytest.mark.parametrize("shift", [1.0, 5.0])
def test_the_model_is_told_the_official_timesteps(part, guide, make_model, sampler, shift):
    """For every number of steps: float32 must not carry one over an integer."""
    timestep = make_model(integer_timesteps=True).model.model_sampling.timestep
    schedule = part("loom_core.sampling.schedule").flow_schedule
    for steps in range(1, 101):
        told = timestep(sampler.flow_sigmas(steps, shift=shift)[:-1])
        assert told.tolist() == schedule(steps, shift=shift).timesteps.tolist()


@pytest.mark.parametrize("solver", ["unipc", "dpmpp_2m", "euler"])
def test_sigmas_of_the_hosts_scheduler_work_too(guide, make_model, sampler, run, solver):
    """They begin at exactly 1, where the solvers' lambda is infinite, and end elsewhere than the official ones."""
    from comfy.samplers import calculate_sigmas

    model = make_model(integer_timesteps=True)
    sigmas = calculate_sigmas(model.model.model_sampling, "simple", 12)
    assert sigmas[0] == 1
    result = run(guide(2.5, 1.5, on=model), sampler.flow_sampler(solver), sigmas)
    official = run(guide(2.5, 1.5, on=model), sampler.flow_sampler(solver), sampler.flow_sigmas(12, shift=5.0))
    assert model.model.diffusion_model.calls[0][1][0] == 999
    torch.testing.assert_close(result, official, atol=2e-2, rtol=0)
    assert not torch.equal(result, official)


def test_the_callers_sigmas_are_left_alone(guide, sampler, run):
    """The host's own uni_pc writes into those it is given."""
    from comfy.samplers import sampler_object

    sigmas = sampler.flow_sigmas(4, shift=5.0)
    before = sigmas.clone()
    for one in (sampler_object("uni_pc"), sampler.flow_sampler("unipc")):
        run(guide(2.5, 1.5), one, sigmas)
        assert torch.equal(sigmas, before)


def test_the_host_hears_of_every_step_like_from_its_own(guide, sampler, run, noise):
    from comfy.samplers import sampler_object

    def steps_of(one):
        heard = []
        run(guide(2.5, 1.5), one, sampler.flow_sigmas(3, shift=5.0), callback=lambda *args: heard.append(args))
        return heard

    own, hosts = steps_of(sampler.flow_sampler("euler")), steps_of(sampler_object("euler"))
    assert [(step, total) for step, _, _, total in own] == [(0, 3), (1, 3), (2, 3)]
    for (_, denoised, x, _), (_, denoised_there, x_there, _) in zip(own, hosts, strict=True):
        torch.testing.assert_close(denoised, denoised_there, atol=1e-4, rtol=0)
        torch.testing.assert_close(x, x_there, atol=1e-4, rtol=0)


def test_part_of_a_run_changes_a_latent(guide, sampler, run, noise, part, velocity):
    """Denoise 0.4 starts from the latent and noise at the sigma where the tail begins."""
    latent = torch.linspace(-1, 1, noise.numel()).view(noise.shape)
    sigmas = sampler.flow_sigmas(4, shift=5.0, denoise=0.4)
    assert torch.equal(sigmas, sampler.flow_sigmas(10, shift=5.0)[-5:])
    guider = guide(2.5, 1.5)
    result = run(guider, sampler.flow_sampler("unipc"), sigmas, latent=latent)
    schedule = part("loom_core.sampling.schedule").Schedule(sigmas, sigmas[:-1] * 1000)
    expected = part("loom_core.sampling.denoise").denoise(
        velocity(guider.weights),
        sigmas[0] * noise + (1 - sigmas[0]) * latent,
        schedule=schedule,
        solver=part("loom_core.sampling.solvers").unipc,
    )
    torch.testing.assert_close(result, expected, atol=1e-4, rtol=0)


def test_no_denoising_is_the_latent_itself(guide, sampler, run, noise):
    sigmas = sampler.flow_sigmas(4, shift=5.0, denoise=0.0)
    assert torch.equal(run(guide(2.5, 1.5), sampler.flow_sampler("unipc"), sigmas, latent=noise), noise)


@pytest.mark.parametrize("solver", ["unipc", "dpmpp_2m", "euler"])
def test_a_run_can_be_split_in_two(guide, model, sampler, noise, solver):
    """SplitSigmas: the second half takes over what the first leaves; exactly so for a solver without memory."""
    sigmas, one = sampler.flow_sigmas(6, shift=5.0), sampler.flow_sampler(solver)

    def part_of(latent, noise, levels):
        return guide(2.5, 1.5).sample(noise, latent, one, levels, disable_pbar=True, seed=3)

    whole = part_of(torch.zeros_like(noise), noise, sigmas)
    half = part_of(torch.zeros_like(noise), noise, sigmas[:4])
    rest = part_of(half, torch.zeros_like(noise), sigmas[3:])
    torch.testing.assert_close(rest, whole, atol=1e-3 if solver == "euler" else 5e-2, rtol=0)


def test_a_mask_keeps_what_it_covers(guide, sampler, run, noise):
    latent = torch.full_like(noise, 0.5)
    mask = torch.zeros(1, 1, *noise.shape[2:])
    mask[..., 2:] = 1
    result = run(
        guide(2.5, 1.5), sampler.flow_sampler("unipc"), sampler.flow_sigmas(4, shift=5.0), latent=latent, mask=mask
    )
    torch.testing.assert_close(result[..., :2], latent[..., :2])
    assert not torch.allclose(result[..., 2:], latent[..., 2:], atol=0.1)


def test_samples_of_a_batch_do_not_mix(guide, sampler, noise):
    both = torch.cat((noise, noise.flip(-1)))
    sigmas = sampler.flow_sigmas(4, shift=5.0)

    def sample(noise):
        one = sampler.flow_sampler("unipc")
        return guide(2.5, 1.5).sample(noise, torch.zeros_like(noise), one, sigmas, disable_pbar=True, seed=3)

    torch.testing.assert_close(sample(both), torch.cat([sample(half[None]) for half in both]), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("sigmas", "words"),
    [
        ([14.6, 3.0, 0.0], "3 sigmas from 14.6 to 0; expected each below the one before, within 1 and 0"),
        ([0.0, 0.5, 1.0], "from 0 to 1"),
        ([1.0, 0.5, 0.5, 0.0], "4 sigmas from 1 to 0"),
        ([1.0, 0.99999999, 0.0], "3 sigmas from 1 to 0"),
    ],
)
def test_sigmas_that_are_no_flows_are_refused(guide, sampler, run, part, sigmas, words):
    with pytest.raises(part("loom_core.errors").ConfigError, match=words):
        run(guide(2.5, 1.5), sampler.flow_sampler("unipc"), torch.tensor(sigmas))


def test_a_model_that_is_no_flow_is_refused(guide, make_model, sampler, run, part):
    from comfy import model_base

    model = make_model()
    model.model.model_sampling = model_base.model_sampling(model.model.model_config, model_base.ModelType.EPS)
    with pytest.raises(part("loom_core.errors").WeightsError, match="not a flow"):
        run(guide(2.5, 1.5, on=model), sampler.flow_sampler("unipc"), sampler.flow_sigmas(2, shift=5.0))


def test_an_unknown_solver_is_refused(sampler, part):
    with pytest.raises(part("loom_core.errors").ConfigError, match="solver 'heun'"):
        sampler.flow_sampler("heun")
