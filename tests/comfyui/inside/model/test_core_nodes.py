"""ComfyUI's own nodes and samplers on a LoomVideo model."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

SHAPE = (1, 48, 3, 4, 6)
EXACT = {"atol": 1e-5, "rtol": 1e-5}


@pytest.fixture
def sample(noise):
    """KSampler's own call."""
    from comfy import sample as host_sample

    def make(model, positive, negative, *, steps=3, cfg=2.0, sampler="euler", scheduler="simple", **more):
        start = torch.zeros_like(more.pop("noise", noise))
        drawn = host_sample.prepare_noise(start, 5)
        return host_sample.sample(
            model, drawn, steps, cfg, sampler, scheduler, positive, negative, start, disable_pbar=True, seed=5, **more
        )

    return make


@pytest.fixture
def pair(conditioning, make_condition):
    """Positive and negative."""
    return conditioning(make_condition(source=SHAPE[2:])), conditioning(make_condition(4, seed=1))


def timesteps_of(model):
    """What the model is told, step by step."""
    told = []
    model.model.diffusion_model.register_forward_pre_hook(lambda _, args: told.append(args[1][0].item()))
    return told


@pytest.mark.parametrize("sampler", ["euler", "uni_pc", "dpmpp_2m", "res_multistep", "euler_ancestral"])
def test_samplers_of_the_host(model, sample, pair, sampler):
    made = sample(model, *pair, sampler=sampler)
    assert made.shape == SHAPE and made.isfinite().all()


def test_another_shift_keeps_whole_timesteps(model, sample, pair):
    """ModelSamplingSD3 puts another sampling object in place of the model's own."""
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    told = timesteps_of(model)
    plain = sample(model, *pair)
    before = told[:]
    told.clear()
    shifted = ModelSamplingSD3().patch(model, 2.0)[0]
    assert type(shifted.get_model_object("model_sampling")) is not type(model.model.model_sampling)
    made = sample(shifted, *pair)
    assert all(value == round(value) and value <= 999 for value in before + told)
    assert before != told and not torch.allclose(made, plain)
    assert torch.equal(sample(model, *pair), plain)


def test_the_projector_runs_once_a_run(model, sample, pair, config):
    calls = []
    handle = model.model.diffusion_model.mllm_embedder.register_forward_hook(lambda *_: calls.append(1))
    try:
        sample(model, *pair, steps=4)
    finally:
        handle.remove()
    assert len(calls) == 2 * config.num_layers


def test_nothing_is_kept_on_the_model_between_runs(model, sample, pair):
    sample(model, *pair)
    before = {name: id(value) for name, value in vars(model.model.diffusion_model).items()}
    sample(model, *pair)
    assert {name: id(value) for name, value in vars(model.model.diffusion_model).items()} == before
    assert not any(torch.is_tensor(value) for value in vars(model.model.diffusion_model).values())


def test_the_hosts_reference_node_adds_a_reference(
    part, model, noise, velocities, expected, conditioning, make_condition
):
    from comfy_extras.nodes_edit_model import ReferenceLatent

    both = make_condition(references=[(1, 2, 4), (1, 4, 2)])
    one = conditioning(replace(both, references=both.references[:1]))
    vae = part("loom_core.vae.latents")
    raw = vae.denormalise(both.references[1].latents[None], vae.WAN22_STATISTICS)
    made = ReferenceLatent.execute(one, {"samples": raw}).args[0]
    torch.testing.assert_close(velocities(model, noise, made)[0], expected(noise, both), **EXACT)


def test_easycache_and_lazycache_skip_steps(model, sample, pair):
    from comfy_extras.nodes_easycache import EasyCacheNode, LazyCacheNode

    passes = []
    model.model.diffusion_model.blocks[0].register_forward_pre_hook(lambda *_: passes.append(1))
    plain = sample(model, *pair, steps=10)
    every_pass = len(passes)
    for node in (EasyCacheNode, LazyCacheNode):
        passes.clear()
        cached = node.execute(model, reuse_threshold=2.0, start_percent=0.0, end_percent=1.0, verbose=False).args[0]
        made = sample(cached, *pair, steps=10)
        assert 0 < len(passes) < every_pass
        assert made.isfinite().all() and not torch.equal(made, plain)


def windows(model, **more):
    from comfy_extras.nodes_context_windows import ContextWindowsManualNode

    options = {
        "context_length": 4, "context_overlap": 2, "context_schedule": "standard_static", "context_stride": 1,
        "closed_loop": False, "fuse_method": "flat", "dim": 2, "freenoise": False, **more,
    }  # fmt: skip
    return ContextWindowsManualNode.execute(model, **options).args[0]


def test_in_context_windows_the_source_goes_along_and_references_stay(
    model, expected, velocities, conditioning, make_condition
):
    """Each window by itself is what the model makes of that part; one before the start is seen and cut off again."""
    frames = 6
    long = torch.randn(1, 48, frames, 4, 6, generator=torch.Generator().manual_seed(8))
    mask = torch.rand(frames, 2, 3, generator=torch.Generator().manual_seed(9))
    condition = make_condition(source=(frames, 4, 6), references=[(1, 2, 4)], source_mask=mask)
    windowed = windows(model)
    (velocity,) = velocities(windowed, long, conditioning(condition), sample_sigmas=torch.tensor([0.7135, 0.0]))

    def part_of(first, last, seen_from):
        chosen = slice(seen_from, last)
        part = replace(
            condition, source_latents=condition.source_latents[:, chosen], source_mask=condition.source_mask[chosen]
        )
        return expected(long[:, :, chosen], part)[:, :, first - seen_from :]

    one, other = part_of(0, 4, 0), part_of(2, 6, 1)
    both = torch.cat((one[:, :, :2], (one[:, :, 2:] + other[:, :, :2]) / 2, other[:, :, 2:]), dim=2)
    torch.testing.assert_close(velocity, both, **EXACT)


def test_a_part_of_the_picture_with_a_conditioning_of_its_own(
    model, noise, velocities, expected, conditioning, make_condition
):
    """Source and mask are cut along with the area."""
    mask = torch.rand(3, 2, 3, generator=torch.Generator().manual_seed(9))
    condition = make_condition(source=SHAPE[2:], references=[(1, 2, 4)], source_mask=mask)
    made = conditioning(condition)
    made[0][1]["area"] = (4, 4, 0, 2)  # rows, columns, first row, first column
    (velocity,) = velocities(model, noise, made)
    part = replace(
        condition, source_latents=condition.source_latents[..., 2:], source_mask=condition.source_mask[..., 1:]
    )
    torch.testing.assert_close(velocity[..., 2:], expected(noise[..., 2:], part), **EXACT)


def test_a_lora_by_hooks_reaches_the_projector_too(model, sample, pair, config):
    """For this run alone, the same as if the model had it for good."""
    from comfy import hooks, lora

    generator = torch.Generator().manual_seed(4)
    weights = {}
    for name, rows, columns in (
        ("mllm_embedder.linear_2", config.hidden_size, 4 * config.hidden_size),
        ("blocks.1.ffn.0", config.ffn_dim, config.hidden_size),
    ):
        weights[f"diffusion_model.{name}.lora_A.weight"] = torch.randn(2, columns, generator=generator) * 0.3
        weights[f"diffusion_model.{name}.lora_B.weight"] = torch.randn(rows, 2, generator=generator) * 0.3
    for_good = model.clone()
    for_good.add_patches(lora.load_lora(dict(weights), lora.model_lora_keys_unet(model.model, {})))
    expected = sample(for_good, *pair)
    plain = sample(model, *pair)

    group = hooks.create_hook_lora(lora=weights, strength_model=1.0, strength_clip=0.0)
    hooked = [hooks.set_hooks_for_conditioning(one, hooks=group) for one in pair]
    torch.testing.assert_close(sample(model, *hooked), expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(plain, expected)
    torch.testing.assert_close(sample(model, *pair), plain)
