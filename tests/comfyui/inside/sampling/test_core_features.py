"""What core's own nodes do to a MODEL holds under our guider and sampler too."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def result_of(guide, sampler, run):
    """Samples with a patched MODEL, all three branches, eight steps."""

    def sample(model, *, solver="unipc", latent=None):
        return run(
            guide(2.5, 1.5, on=model), sampler.flow_sampler(solver), sampler.flow_sigmas(8, shift=5.0), latent=latent
        )

    return sample


def test_easycache_skips_steps_of_every_branch(model, result_of):
    from comfy_extras.nodes_easycache import EasyCacheNode

    plain = result_of(model)
    calls = model.model.diffusion_model.calls
    whole = len(calls)
    calls.clear()
    patched = EasyCacheNode.execute(model, reuse_threshold=0.3, start_percent=0.0, end_percent=1.0, verbose=False).args[
        0
    ]
    cached = result_of(patched)
    assert 0 < len(calls) < whole
    assert all(sorted(branches) == [0, 1, 2] for branches, *_ in calls)
    assert cached.isfinite().all()
    assert not torch.equal(cached, plain)


def test_lazycache_skips_steps(model, result_of):
    from comfy_extras.nodes_easycache import LazyCacheNode

    result_of(model)
    calls = model.model.diffusion_model.calls
    whole = len(calls)
    calls.clear()
    result_of(
        LazyCacheNode.execute(model, reuse_threshold=0.3, start_percent=0.0, end_percent=1.0, verbose=False).args[0]
    )
    assert 0 < len(calls) < whole


def test_context_windows_split_every_branch(model, guide, sampler):
    from comfy_extras.nodes_context_windows import ContextWindowsManualNode

    noise = torch.randn(1, 48, 6, 4, 4, generator=torch.Generator().manual_seed(3))
    patched = ContextWindowsManualNode.execute(
        model,
        context_length=4,
        context_overlap=2,
        context_schedule="standard_static",
        context_stride=1,
        closed_loop=False,
        fuse_method="pyramid",
        dim=2,
        freenoise=False,
    ).args[0]
    shapes = []
    patched.set_model_unet_function_wrapper(
        lambda apply, args: (
            shapes.append((args["cond_or_uncond"], tuple(args["input"].shape[1:3])))
            or apply(args["input"], args["timestep"], **args["c"])
        )
    )
    guider = guide(2.5, 1.5, on=patched, task="text-to-video")  # no source: its slicing is the model's business
    sigmas = sampler.flow_sigmas(2, shift=5.0)
    result = guider.sample(
        noise, torch.zeros_like(noise), sampler.flow_sampler("unipc"), sigmas, disable_pbar=True, seed=3
    )
    assert result.shape == noise.shape
    assert {sum(branches) for branches, _ in shapes} == {0 + 1}
    assert {frames for _, (_, frames) in shapes} <= {4, 5}  # a later window carries the first frame along
    assert len(shapes) == 2 * 2  # windows 0-3 and 2-5, two steps, branches batched


@pytest.mark.parametrize(
    "name", ["euler_cfg_pp", "dpmpp_2m_cfg_pp", "res_multistep_cfg_pp", "dpmpp_2m", "uni_pc", "lcm"]
)
def test_the_hosts_samplers_follow_our_guider(guide, model, sampler, run, branches_of, name):
    from comfy.samplers import sampler_object

    result = run(guide(2.5, 1.0), sampler_object(name), sampler.flow_sigmas(6, shift=5.0))
    assert result.isfinite().all()
    needs_unconditional = name.endswith("cfg_pp")
    assert all(step == ({0, 1, 2} if needs_unconditional else {0, 2}) for step in branches_of(model))


def test_the_hosts_samplers_come_to_the_same_place(guide, sampler, run):
    """Another discretisation of the same flow: with many steps they meet."""
    from comfy.samplers import sampler_object

    sigmas = sampler.flow_sigmas(60, shift=5.0)
    ours = run(guide(2.5, 1.5), sampler.flow_sampler("unipc"), sigmas)
    torch.testing.assert_close(run(guide(2.5, 1.5), sampler_object("dpmpp_2m"), sigmas), ours, atol=2e-2, rtol=0)


def patch_apg(model):
    from comfy_extras.nodes_apg import APG

    return APG.execute(model, eta=0.5, norm_threshold=5.0, momentum=0.0)


def patch_tangential_damping(model):
    from comfy_extras.nodes_tcfg import TCFG

    return TCFG.execute(model)


def patch_cfg_zero_star(model):
    from comfy_extras.nodes_cfg import CFGZeroStar

    return CFGZeroStar.execute(model)


def patch_cfg_norm(model):
    from comfy_extras.nodes_cfg import CFGNorm

    return CFGNorm.execute(model, strength=0.8)


def patch_rescale_cfg(model):
    from comfy_extras.nodes_model_advanced import RescaleCFG

    return RescaleCFG().patch(model, 0.7)


def patch_skip_layer(model):
    from comfy_extras.nodes_slg import SkipLayerGuidanceDiTSimple

    return SkipLayerGuidanceDiTSimple.execute(
        model, double_layers="0", single_layers="", start_percent=0.0, end_percent=1.0
    )


PATCHES = [
    patch_apg,
    patch_tangential_damping,
    patch_cfg_zero_star,
    patch_cfg_norm,
    patch_rescale_cfg,
    patch_skip_layer,
]


@pytest.mark.parametrize("patch", PATCHES)
def test_guidance_extensions_work(model, result_of, patch):
    patched = patch(model)
    patched = (patched if isinstance(patched, tuple) else patched.args)[0]
    result = result_of(patched)
    assert result.isfinite().all()
    if patch is not patch_skip_layer:  # this model has no layers to skip
        assert not torch.allclose(result, result_of(model))


@pytest.mark.parametrize("node", ["ModelSamplingSD3", "ModelSamplingDiscrete"])
def test_the_hosts_model_sampling_is_taken_or_refused(model, result_of, part, node):
    """SD3's is a flow, whose shift moves the host's schedulers and not ours; the other is no flow."""
    from comfy_extras import nodes_model_advanced

    if node == "ModelSamplingSD3":
        patched = nodes_model_advanced.ModelSamplingSD3().patch(model, 8.0)[0]
        torch.testing.assert_close(result_of(patched), result_of(model))
        return
    patched = nodes_model_advanced.ModelSamplingDiscrete().patch(model, "eps", zsnr=False)[0]
    with pytest.raises(part("loom_core.errors").WeightsError, match="not a flow"):
        result_of(patched)


@pytest.mark.parametrize("sampler_name", ["unipc", "euler"])
def test_plain_ksampler_runs_positive_and_negative(model, conditionings, branches_of, sampler_name):
    """Two branches, by core alone."""
    from comfy import sample as host_sample

    positive, negative, _ = conditionings()
    latent = torch.zeros(2, 48, 2, 4, 4)
    noise = host_sample.prepare_noise(latent, 3)
    name = {"unipc": "uni_pc", "euler": "euler"}[sampler_name]
    made = host_sample.sample(
        model, noise, 4, 2.5, name, "simple", positive, negative, latent, disable_pbar=True, seed=3
    )
    assert made.shape == latent.shape and made.isfinite().all()
    assert set().union(*branches_of(model)) == {0, 1}
