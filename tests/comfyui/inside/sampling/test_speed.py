"""What shortcuts leave out under the host's loop: the same as in loom_core, whatever else takes part in a step."""

from __future__ import annotations

import pytest
import torch

STEPS = 20
SOLVERS = ("unipc", "dpmpp_2m", "euler")
BUDGET = {"guidance_every": 3}
REUSE = {"reuse_threshold": 0.1}


@pytest.fixture
def follow(guide, sampler, run):
    """Samples `STEPS` steps, or those of `sigmas`."""

    def sample(scales=(2.5, 1.5), *, solver="unipc", sigmas=None, latent=None, mask=None, **given):
        sigmas = sampler.flow_sigmas(STEPS, shift=5.0) if sigmas is None else sigmas
        return run(guide(*scales, **given), sampler.flow_sampler(solver), sigmas, latent=latent, mask=mask)

    return sample


def error(found, expected):
    return float((found - expected).norm() / expected.norm())


def count(model):
    """Forward passes by branch since the last count."""
    calls = model.model.diffusion_model.calls
    counts = [sum(branches.count(number) for branches, *_ in calls) for number in range(3)]
    calls.clear()
    return counts


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("shortcuts", [BUDGET, REUSE], ids=["budget", "reuse"])
@pytest.mark.parametrize("scales", [(2.5, 1.5), (2.5, 1.0), (2.0, 2.0), (1.0, 1.0)])
def test_as_loom_core_leaves_out(follow, part, conditionings, noise, make_model, solver, shortcuts, scales):
    """To the same branches in the same steps, and so to the same latents up to rounding."""
    del conditionings
    model = make_model(integer_timesteps=True)
    found = follow(scales, solver=solver, on=model, **shortcuts)
    counts = count(model)
    types = part("loom_core.types")
    names = {types.Branch.FULL: 0, types.Branch.UNCONDITIONAL: 1, types.Branch.VISUAL: 2}
    push = {types.Branch.UNCONDITIONAL: 0.2, types.Branch.VISUAL: 0.5, types.Branch.FULL: 0.8}
    flow, calls = type(model.model.diffusion_model).velocity, [0, 0, 0]

    def denoiser(latents, timestep, branch):
        calls[names[branch]] += 1
        return flow(latents, timestep, torch.full((1, 3, 16), push[branch]))

    schedule = part("loom_core.sampling.schedule").flow_schedule(STEPS, shift=5.0)
    velocity = part("loom_core.sampling.shortcuts").shortened_velocity(
        denoiser,
        {branch: branch for branch in types.Branch},
        part("loom_core.sampling.guidance").branch_weights(*scales, has_visual=True),
        dtype=torch.float32,
        shortcuts=part("loom_core.config.speed").Shortcuts(**shortcuts),
        schedule=schedule,
    )
    expected = part("loom_core.sampling.denoise").denoise(
        velocity, noise, schedule=schedule, solver=part("loom_core.sampling.solvers").get_solver(solver)
    )
    assert counts == calls
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    if scales == (2.5, 1.5):
        assert calls[0] == STEPS and calls[1] == calls[2] < STEPS if shortcuts is BUDGET else calls[0] < STEPS


def test_nothing_is_left_out_by_default(follow, model):
    plain = follow()
    assert count(model) == [STEPS] * 3
    assert torch.equal(follow(reuse_threshold=1e-12), plain)  # nor does the bookkeeping change a bit
    assert count(model) == [STEPS] * 3


@pytest.mark.parametrize("shortcuts", [BUDGET, REUSE], ids=["budget", "reuse"])
def test_runs_do_not_know_of_each_other(guide, sampler, run, model, shortcuts):
    """The host keeps a guider for the next run."""
    guider, sigmas = guide(2.5, 1.5, **shortcuts), sampler.flow_sigmas(STEPS, shift=5.0)
    first = run(guider, sampler.flow_sampler("unipc"), sigmas)
    calls = count(model)
    run(guider, sampler.flow_sampler("euler"), sampler.flow_sigmas(5, shift=3.0))
    count(model)
    assert torch.equal(run(guider, sampler.flow_sampler("unipc"), sigmas), first)
    assert count(model) == calls


@pytest.mark.parametrize("visual", [True, False])
def test_text_to_video_and_a_missing_visual_branch(follow, model, visual):
    plain = follow(task="text-to-video", visual=visual)
    count(model)
    assert error(follow(task="text-to-video", visual=visual, **REUSE), plain) < 0.05
    full, negative, pictures = count(model)
    assert full == negative < STEPS and pictures == 0


def test_a_part_of_a_run(follow, sampler, model):
    latent, sigmas = torch.ones(1, 48, 2, 4, 4), sampler.flow_sigmas(STEPS, shift=5.0, denoise=0.5)
    plain = follow(sigmas=sigmas, latent=latent)
    count(model)
    assert error(follow(sigmas=sigmas, latent=latent, **REUSE), plain) < 0.05
    assert count(model)[0] < STEPS


def test_a_mask_keeps_what_it_keeps(follow, model):
    latent, mask = torch.ones(1, 48, 2, 4, 4), torch.zeros(1, 1, 2, 4, 4)
    mask[..., 2:] = 1
    found = follow(latent=latent, mask=mask, **REUSE)
    assert count(model)[0] < STEPS
    torch.testing.assert_close(found[..., :2], latent[..., :2])


@pytest.mark.parametrize("name", ["euler", "heun", "dpmpp_2m", "uni_pc", "euler_ancestral"])
def test_the_hosts_samplers(guide, model, sampler, run, name):
    """Also those that ask twice a step, or add noise."""
    from comfy.samplers import sampler_object

    sigmas = sampler.flow_sigmas(STEPS, shift=5.0)
    plain = run(guide(2.5, 1.5), sampler_object(name), sigmas)
    whole = count(model)
    found = run(guide(2.5, 1.5, **REUSE), sampler_object(name), sigmas)
    assert sum(count(model)) <= sum(whole)
    assert found.isfinite().all()
    if "ancestral" not in name:  # new noise in each step: what is reused was made for other latents
        assert error(found, plain) < 0.1


def test_extensions_see_every_branch_in_every_step(follow, model):
    seen = []

    def look(args):
        seen.append([float(one.abs().mean()) for one in args["conds_out"]])
        return args["conds_out"]

    model.model_options = {**model.model_options, "sampler_pre_cfg_function": [look]}
    follow(**REUSE)
    assert count(model)[0] < STEPS
    assert len(seen) == STEPS and all(min(sizes) > 0 for sizes in seen)


def test_all_branches_stand_in_for_those_who_ask(follow, model):
    """`disable_cfg1_optimization`, at scales that weigh one branch alone."""
    model.set_model_sampler_post_cfg_function(lambda args: args["denoised"], disable_cfg1_optimization=True)
    follow((1.0, 1.0), **REUSE)
    full, negative, visual = count(model)
    assert full == negative == visual < STEPS


def test_together_with_the_hosts_easycache(follow, model):
    """It is not advised, but nothing breaks: each leaves out what it would."""
    from comfy_extras.nodes_easycache import EasyCacheNode

    patched = EasyCacheNode.execute(model, reuse_threshold=0.3, start_percent=0.0, end_percent=1.0, verbose=False)
    for shortcuts in (BUDGET, REUSE):
        assert follow(on=patched.args[0], **shortcuts).isfinite().all()
        assert 0 < count(model)[0] < STEPS


def test_the_nodes_pass_it_on(part, model, conditionings):
    positive, negative, visual = conditionings()
    node = part("nodes.sampler").LoomVideoSampler
    given = {"seed": 5, "steps": STEPS, "guidance_scale": 2.5, "visual_guidance_scale": 1.5}
    given |= {"solver": "unipc", "shift": 5.0, "denoise": 1.0}

    def made(**more):
        latent = {"samples": torch.zeros(1, 48, 2, 4, 4)}
        return node.execute(model, positive, negative, latent, visual=visual, **given, **more).args[0]["samples"]

    plain = made()
    assert count(model) == [STEPS] * 3
    assert torch.equal(made(speed="exact", guidance_every=1), plain)
    count(model)
    assert 0 < error(made(speed="fast"), plain) < 0.1
    assert count(model)[0] < STEPS
    assert 0 < error(made(guidance_every=2), plain) < 0.1
    full, negative_calls, _ = count(model)
    assert negative_calls < full == STEPS
