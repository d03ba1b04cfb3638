"""What the host's model makes of a conditioning, and what it tells the host."""

from __future__ import annotations

import math

import pytest
import torch

SHAPE = (1, 48, 3, 4, 6)


@pytest.fixture
def conds_of(model, noise):
    """`extra_conds` of a conditioning."""
    from comfy import model_management

    model_management.load_models_gpu([model])

    def make(conditioning, **more):
        (states, values), *_ = conditioning
        given = {
            **values,
            "cross_attn": states,
            "noise": noise,
            "device": torch.device("cpu"),
            "prompt_type": "positive",
        }
        return model.model.extra_conds(**given, **more)

    return make


def test_it_is_what_our_nodes_take(part, model, config):
    assert part("nodes.adapter.sampling.checks").config_of(model) == config


def test_latents_are_those_of_wan_22(part, model, noise):
    """The host's statistics are ours, and its latent format is told by name in previews."""
    vae = part("loom_core.vae.latents")
    torch.testing.assert_close(model.model.process_latent_in(noise), vae.normalise(noise, vae.WAN22_STATISTICS))
    torch.testing.assert_close(model.model.process_latent_out(noise), vae.denormalise(noise, vae.WAN22_STATISTICS))
    assert model.model.latent_format.latent_channels == 48


def test_the_built_in_model_is_previewed_in_its_own_colours(part, load):
    loading = part("nodes.adapter.model.loading")
    built_in = load(loading.dit_path("built-in: loom-tiny")).model.latent_format
    codec = part("loom_core.vae.linear").LinearCodec.load(loading.BUILT_IN_FOLDER / loading.CODEC_FILE)
    latents = torch.randn(48, 2, 5, 6, generator=torch.Generator().manual_seed(2))
    from latent_preview import Latent2RGBPreviewer

    previewer = Latent2RGBPreviewer(built_in.latent_rgb_factors, built_in.latent_rgb_factors_bias)
    _, image, _ = previewer.decode_latent_to_preview_image("PNG", latents[None])
    import numpy as np

    shown = torch.from_numpy(np.array(image)).float()
    # the host shows the first frame, in the colours of the others
    expected = codec.colour_map().colours(latents[:, 0]).float()
    assert shown.shape == expected.shape
    assert float((shown - expected).abs().max()) <= 1


def test_contexts_are_projected_once(part, conds_of, dit, conditioning, make_condition):
    condition = make_condition(7)
    context = conds_of(conditioning(condition))["c_crossattn"].cond
    expected = [dit.mllm_embedder(states[None]) for states in condition.mllm_hidden_states]
    torch.testing.assert_close(context, torch.cat(expected, dim=-1))


def test_latents_are_normalised_once(conds_of, conditioning, make_condition):
    condition = make_condition(source=SHAPE[2:], references=[(1, 2, 4), (2, 4, 2)], source_strength=0.5)
    out = conds_of(conditioning(condition))
    torch.testing.assert_close(out["source_latent"].cond[0], condition.source_latents)
    for made, reference in zip(out["ref_latents"].cond, condition.references, strict=True):
        torch.testing.assert_close(made[0], reference.latents)
    assert out["source_strength"].cond == 0.5


def test_references_beyond_the_given_times_take_the_trained_ones(part, conds_of, conditioning, make_condition):
    keys = part("nodes.adapter.conditioning")
    made = conditioning(make_condition(references=[(1, 2, 2)], indices=(-7,)))
    made[0][1][keys.REFERENCE_LATENTS] += [torch.zeros(1, 48, 1, 2, 2), torch.zeros(1, 48, 2, 4)]
    out = conds_of(made)
    assert out["ref_indices"].cond == (-7, -20, -30)
    assert [latent.shape for latent in out["ref_latents"].cond] == [(1, 48, 1, 2, 2)] * 2 + [(1, 48, 1, 2, 4)]


def test_a_mask_of_tokens_becomes_one_of_latents(conds_of, conditioning, make_condition):
    mask = torch.arange(18.0).view(3, 2, 3)
    made = conds_of(conditioning(make_condition(source=SHAPE[2:], source_mask=mask)))["source_mask"].cond
    assert made.shape == (1, 1, *SHAPE[2:])
    assert torch.equal(made[0, 0, :, ::2, ::2], mask) and torch.equal(made[0, 0, :, 1::2, 1::2], mask)


def test_what_does_not_fit_is_refused_before_the_first_step(part, conds_of, conditioning, make_condition):
    keys, errors = part("nodes.adapter.conditioning"), part("loom_core.errors")
    for condition, says in (
        (make_condition(source=(2, 4, 6)), "source of 5 frames"),
        (make_condition(source=SHAPE[2:], source_mask=torch.ones(3, 4, 6)), "a source mask of size"),
    ):
        with pytest.raises(errors.ConfigError, match=says):
            conds_of(conditioning(condition))
    foreign = [[torch.zeros(1, 4, 99), {}]]
    with pytest.raises(errors.ConfigError, match="conditioning at positive with 99 numbers a token"):
        conds_of(foreign)
    wan_21 = conditioning(make_condition())
    wan_21[0][1][keys.REFERENCE_LATENTS] = [torch.zeros(1, 16, 1, 2, 2)]
    with pytest.raises(errors.ConfigError, match="latents of reference 1 with 16 channels"):
        conds_of(wan_21)


@pytest.mark.parametrize("choice", [True, False])
def test_timesteps_are_whole_unless_told_otherwise(load, write, state, choice):
    model = load(write(state), integer_timesteps=choice).model
    sigmas = torch.tensor([1.0, 0.999999, 0.7135, 0.0004, 0.0])
    told = model.process_timestep(model.model_sampling.timestep(sigmas))
    assert told.tolist() == ([999, 999, 713, 0, 0] if choice else (sigmas * 1000).tolist())


@pytest.mark.parametrize("steps", [1, 12, 20, 50, 333])
def test_our_schedule_gives_the_official_timesteps(part, model, steps):
    schedule = part("loom_core.sampling.schedule").flow_schedule(steps, shift=5.0)
    sigmas = part("nodes.adapter.sampling.sampler").flow_sigmas(steps, shift=5.0)[:-1]
    told = model.model.process_timestep(model.model.model_sampling.timestep(sigmas))
    assert told.tolist() == schedule.timesteps.tolist()


@pytest.mark.parametrize("scheduler", ["simple", "normal", "sgm_uniform", "beta", "karras", "linear_quadratic"])
def test_the_hosts_schedules_give_whole_timesteps_in_range(model, scheduler):
    from comfy.samplers import calculate_sigmas

    sampling = model.model.model_sampling
    sigmas = calculate_sigmas(sampling, scheduler, 20)[:-1]
    told = model.model.process_timestep(sampling.timestep(sigmas))
    assert torch.equal(told, told.round()) and told.max() <= 999 and told.min() >= 0
    assert (sigmas * 1000 - told).max() <= 1.001


@pytest.fixture
def needed(model):
    """Bytes that the host is told for a conditioning."""

    def of(made, batch=1):
        shapes = model.model.extra_conds_shapes(**{**made[0][1], "cross_attn": made[0][0]})
        size = (batch, *SHAPE[1:])
        return model.model.memory_required(size, cond_shapes={name: [shape] for name, shape in shapes.items()})

    return of


def test_memory_is_what_is_planned(part, needed, config, conditioning, make_condition, monkeypatch):
    from comfy import model_management

    denoise, margin = part("loom_core.planning.denoise"), part("loom_core.planning.moments").MARGIN
    monkeypatch.setattr(model_management, "pytorch_attention_flash_attention", lambda: True)
    contexts = 8 * config.num_layers * config.hidden_size * 4
    for references, tokens in (([], 0), ([(1, 2, 4), (2, 4, 2)], 2 + 4)):
        made = conditioning(make_condition(8, references=references))
        for batch in (1, 3):
            sizes = denoise.ForwardSizes(
                config=config,
                target=math.prod(SHAPE[2:]) // 4,
                references=tokens,
                context=8,
                itemsize=4,
                batch=batch,
                keeps_keys_values=False,
            )
            assert needed(made, batch) == pytest.approx(margin * (denoise.step_bytes(sizes) + contexts))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("references", [0, 2])
def test_a_step_takes_what_is_planned(part, load, write, state, config, batch, references):
    """Counted outside of inference mode, in which tensors that were made before cannot be told from new ones."""
    from comfy import model_management
    from comfy.ldm.modules.attention import attention_pytorch

    denoise, counting = part("loom_core.planning.denoise"), part("benchmarks.live_memory")
    # on a CPU the host takes another attention than the fused one, which GPUs have
    options = {"optimized_attention_override": lambda _, *args, **kwargs: attention_pytorch(*args, **kwargs)}
    with torch.inference_mode(False):
        model = load(write(state))
        model_management.load_models_gpu([model])
        x = torch.randn(batch, 48, 3, 16, 24)
        context = torch.randn(batch, 20, config.num_layers * config.hidden_size)
        given = {
            "source_latent": torch.randn_like(x),
            "ref_latents": [torch.randn(batch, 48, 1, 16, 24) for _ in range(references)],
            "ref_indices": (-10, -20)[:references],
        }
        step = torch.full((batch,), 500.0)
        alive = counting.peak_live_bytes(
            lambda: model.model.diffusion_model(x, step, context, transformer_options=options, **given)
        )
    sizes = denoise.ForwardSizes(
        config=config,
        target=3 * 8 * 12,
        references=references * 8 * 12,
        context=20,
        itemsize=4,
        batch=batch,
        keeps_keys_values=False,
    )
    assert denoise.step_bytes(sizes) == pytest.approx(alive, rel=0.1)


def test_scores_of_an_attention_that_is_not_fused_count(model, needed, conditioning, make_condition, monkeypatch):
    from comfy import model_base, model_management

    made = conditioning(make_condition(8, references=[(1, 2, 4)]))
    monkeypatch.setattr(model_management, "pytorch_attention_flash_attention", lambda: True)
    fused = needed(made)
    monkeypatch.setattr(model_management, "pytorch_attention_flash_attention", lambda: False)
    monkeypatch.setattr(model_base.BaseModel, "memory_required", lambda *_, **__: 3 * fused)
    assert needed(made) == 3 * fused
    monkeypatch.setattr(model_base.BaseModel, "memory_required", lambda *_, **__: 1.0)
    assert needed(made) == fused


def test_the_estimate_before_a_run_is_that_of_a_step(model, conditioning, make_condition, conds_of):
    """Names and sizes told beforehand are those of the conditions that are made."""
    made = conditioning(make_condition(8, references=[(1, 2, 4), (2, 4, 2)]))
    told = model.model.extra_conds_shapes(**{**made[0][1], "cross_attn": made[0][0]})
    out = conds_of(made)
    assert {name: math.prod(shape) for name, shape in told.items()} == {
        name: math.prod(out[name].size()) for name in told
    }
