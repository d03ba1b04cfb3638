"""The built-in model through the host's loop: equal to `loom_core`'s own, and under core's nodes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

SHAPE = (1, 48, 3, 4, 6)


@pytest.fixture
def tiny(part):
    """The built-in MODEL."""
    loader = part("nodes.loaders").LoomVideoModelLoader
    return loader.execute(
        model_name="built-in: loom-tiny",
        weight_dtype="default",
        convert_official=True,
        integer_timesteps=True,
        rope_precision="auto",
    ).args[0]


@pytest.fixture
def conditions(part):
    """A `Condition` of each branch, with a source in all but the unconditional one."""
    types, generator = part("loom_core.types"), torch.Generator().manual_seed(11)

    def condition(branch, length):
        states = torch.randn(3, length, 128, generator=generator).bfloat16().float().unbind(0)
        is_bare = branch is types.Branch.UNCONDITIONAL
        return types.Condition(states, None if is_bare else torch.linspace(-1, 1, 48 * 72).view(SHAPE[1:]))

    return {branch: condition(branch, 5 + 2 * number) for number, branch in enumerate(types.Branch)}


@pytest.fixture
def inputs(part, conditions):
    """The same as inputs of a sampling node, with latents as the VAE makes them."""
    keys, types = part("nodes.adapter.conditioning"), part("loom_core.types")
    vae = part("loom_core.vae.latents")
    names = {types.Branch.FULL: "positive", types.Branch.UNCONDITIONAL: "negative", types.Branch.VISUAL: "visual"}
    made = {}
    for branch, name in names.items():
        condition = conditions[branch]
        made[name] = keys.make_conditioning(condition.mllm_hidden_states, task=types.Task.EDIT_VIDEO, branch=branch)
        if condition.source_latents is not None:
            source = vae.denormalise(condition.source_latents[None], vae.WAN22_STATISTICS)
            made[name][0][1] |= {keys.SOURCE_LATENT: source, keys.SOURCE_STRENGTH: 1.0}
    return made


@pytest.fixture
def generate(part, tiny, inputs):
    def make(model=None, latent=None, **settings):
        widgets = {"seed": 5, "steps": 4, "guidance_scale": 2.5, "visual_guidance_scale": 1.5, "solver": "unipc"}
        node = part("nodes.sampler").LoomVideoSampler
        latent = {"samples": torch.zeros(SHAPE)} if latent is None else latent
        everything = {**inputs, **widgets, "shift": 5.0, "denoise": 1.0, **settings}
        return node.execute(model=model or tiny, latent=latent, **everything).args[0]["samples"]

    return make


def own_run(part, conditions, repo_root: Path, *, scales, solver, steps=4):
    """What `loom_core` makes of the same, without the host."""
    guidance, denoising = part("loom_core.sampling.guidance"), part("loom_core.sampling.denoise")
    path = repo_root / "loom_core" / "assets" / "loom_tiny" / "dit.safetensors"
    model = part("loom_core.weights.loading").load_dit(path, dtype=torch.float32)
    weights = guidance.branch_weights(*scales, has_visual=True)
    prepared = {branch: model.prepare([conditions[branch]], torch.zeros(SHAPE)) for branch in weights}
    return denoising.denoise(
        guidance.guided_velocity(model, prepared, weights, dtype=torch.float32),
        denoising.initial_noise(SHAPE, seed=5),
        schedule=part("loom_core.sampling.schedule").flow_schedule(steps, shift=5.0),
        solver=part("loom_core.sampling.solvers").get_solver(solver),
    )


@pytest.mark.parametrize("solver", ["unipc", "dpmpp_2m", "euler"])
@pytest.mark.parametrize("scales", [(2.5, 1.5), (1.3, 1.0)])
def test_the_node_makes_what_loom_core_makes(part, generate, tiny, conditions, repo_root, solver, scales):
    expected = own_run(part, conditions, repo_root, scales=scales, solver=solver)
    vae = part("loom_core.vae.latents")
    raw = generate(solver=solver, guidance_scale=scales[0], visual_guidance_scale=scales[1])
    made = vae.normalise(raw, vae.WAN22_STATISTICS)
    exact = tiny.model.get_dtype_inference() is torch.float32
    torch.testing.assert_close(made, expected, atol=1e-4 if exact else 5e-2, rtol=0)
    assert float((made - expected).abs().mean()) < (1e-5 if exact else 1e-2)


def test_defaults_are_those_of_the_tiny_preset(generate):
    made = generate(steps=0, guidance_scale=0.0, visual_guidance_scale=0.0)
    assert torch.equal(made, generate(steps=12, guidance_scale=2.0, visual_guidance_scale=1.5))


def test_plain_core_sampling_with_positive_and_negative(part, tiny, inputs):
    """KSampler's own two branches; its result is that of our guider without the visual conditioning."""
    from comfy import sample as host_sample
    from comfy.samplers import calculate_sigmas

    latent = torch.zeros(SHAPE)
    noise = host_sample.prepare_noise(latent, 5)
    core = host_sample.sample(
        tiny,
        noise,
        4,
        2.5,
        "euler",
        "simple",
        inputs["positive"],
        inputs["negative"],
        latent,
        disable_pbar=True,
        seed=5,
    )
    guider = part("nodes.adapter.sampling.guider").CascadedGuider(
        tiny,
        positive=inputs["positive"],
        negative=inputs["negative"],
        settings=part("loom_core.config.sampling").SamplingConfig(guidance_scale=2.5),
    )
    from comfy.samplers import sampler_object

    sigmas = calculate_sigmas(tiny.model.model_sampling, "simple", 4)
    ours = guider.sample(noise, latent, sampler_object("euler"), sigmas, disable_pbar=True, seed=5)
    torch.testing.assert_close(ours, core, atol=1e-4, rtol=0)


def test_a_batch_of_two(generate):
    both = generate(latent={"samples": torch.zeros(2, *SHAPE[1:])})
    assert both.shape == (2, *SHAPE[1:])
    assert not torch.allclose(both[0], both[1])


def test_part_of_a_run_stays_near_its_latent(generate):
    latent = {"samples": torch.full(SHAPE, 0.5)}
    near, far = (float((generate(latent=latent, denoise=denoise) - 0.5).abs().mean()) for denoise in (0.1, 0.9))
    assert 0 < near < far


def test_shift_of_model_sampling_sd3_leaves_our_schedule_alone(generate, tiny):
    """It replaces the host's schedule; our own stays, and so do whole timesteps."""
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    patched = ModelSamplingSD3().patch(tiny, 3.0)[0]
    torch.testing.assert_close(generate(model=patched), generate())


def test_easycache_skips_steps(generate, tiny):
    from comfy_extras.nodes_easycache import EasyCacheNode

    def steps_of(model):
        counted = model.clone()
        calls = []
        counted.set_model_unet_function_wrapper(
            lambda apply, args: (
                calls.append(args["cond_or_uncond"]) or apply(args["input"], args["timestep"], **args["c"])
            )
        )
        return generate(model=counted, steps=10), calls

    plain, _ = steps_of(tiny)
    patched = EasyCacheNode.execute(tiny, reuse_threshold=2.0, start_percent=0.0, end_percent=1.0, verbose=False).args[
        0
    ]
    cached, calls = steps_of(patched)
    assert {index for branches in calls for index in branches} == {0, 1, 2}
    assert cached.isfinite().all()
    assert not torch.equal(cached, plain)


def test_context_windows(generate, tiny, inputs, part):
    """The source is sliced along with the target."""
    from comfy_extras.nodes_context_windows import ContextWindowsManualNode

    keys = part("nodes.adapter.conditioning")
    long = torch.zeros(1, 48, 6, 4, 6)
    for name in ("positive", "visual"):
        inputs[name][0][1][keys.SOURCE_LATENT] = torch.linspace(-1, 1, long.numel()).view(long.shape)
    options = {
        "context_length": 4,
        "context_overlap": 2,
        "context_schedule": "standard_static",
        "context_stride": 1,
        "closed_loop": False,
        "fuse_method": "pyramid",
        "dim": 2,
        "freenoise": False,
    }
    patched = ContextWindowsManualNode.execute(tiny, **options).args[0]
    frames = []
    patched.set_model_unet_function_wrapper(
        lambda apply, args: frames.append(args["input"].shape[2]) or apply(args["input"], args["timestep"], **args["c"])
    )
    made = generate(model=patched, latent={"samples": long}, steps=2)
    assert made.shape == long.shape and made.isfinite().all()
    assert max(frames) < 6


def test_a_second_run_after_unloading_is_the_same(generate):
    from comfy import model_management

    first = generate()
    model_management.unload_all_models()
    assert torch.equal(generate(), first)
