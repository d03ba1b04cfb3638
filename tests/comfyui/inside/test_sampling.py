"""Guider and sampler in the host's own loop, on a small model whose velocity is known."""

from __future__ import annotations

import logging
from importlib import import_module

import pytest
import torch

LAYERS, WIDTH, CHANNELS = 2, 8, 48
SHAPE = (1, CHANNELS, 2, 4, 4)


@pytest.fixture
def part(pack):
    """A module of the pack by its name."""
    return lambda name: import_module(f"{pack.__name__}.{name}")


class Flow(torch.nn.Module):
    """Velocity that depends on latents, timestep and conditioning in ways that do not cancel; keeps what it is asked.

    Args:
        fails: Exceptions to raise, one a call, before it works; None works at once.
    """

    def __init__(self, device=None, fails=(), **_):
        super().__init__()
        self.dtype, self.fails = torch.float32, list(fails)
        self.calls: list[tuple[list[int], list[float], int]] = []

    def forward(self, x, timestep, context=None, control=None, transformer_options=None, **_):
        options = transformer_options or {}
        self.calls.append((list(options.get("cond_or_uncond", [])), timestep.tolist(), len(x)))
        if self.fails:
            raise self.fails.pop(0)
        return self.velocity(x, timestep, context)

    @staticmethod
    def velocity(x, timestep, context):
        push = context.mean((1, 2)).view(-1, 1, 1, 1, 1)
        time = (timestep / 1000).view(-1, 1, 1, 1, 1)
        return torch.tanh(x * (0.7 + push)) + time * push + 0.2 * x.mean((2, 3, 4), keepdim=True)


@pytest.fixture
def make_model(part):
    """Makes a MODEL of the host around `Flow`."""
    from comfy import latent_formats, model_base, model_management, model_patcher, supported_models_base

    class Format(latent_formats.LatentFormat):
        latent_channels, latent_dimensions = CHANNELS, 3
        latent_rgb_factors = [[0.01, 0.0, 0.0]] * CHANNELS

    class Config(supported_models_base.BASE):
        unet_config = {}
        sampling_settings = {"shift": 5.0}
        latent_format = Format
        memory_usage_factor = 1e-6

    def make(fails=()):
        config = Config({"disable_unet_model_creation": True})
        model = model_base.BaseModel(config, model_type=model_base.ModelType.FLOW)
        model.diffusion_model = Flow(fails=fails)
        model.loom_config = part("loom_core.config.model").DiTConfig(
            hidden_size=12, num_heads=1, head_dim=12, num_layers=LAYERS, ffn_dim=4, mllm_dim=WIDTH
        )
        cpu = model_management.get_torch_device()
        return model_patcher.CoreModelPatcher(model, cpu, cpu)

    return make


@pytest.fixture
def model(make_model):
    return make_model()


@pytest.fixture
def conditionings(part):
    """Makes (positive, negative, visual); with a source of the latents' size unless told otherwise."""
    keys, types = part("nodes.adapter.conditioning"), part("loom_core.types")

    def make(task="edit-video", source_shape=SHAPE):
        made = {}
        for number, branch in enumerate(types.Branch):
            values = {keys.TASK: task, keys.BRANCH: branch.value, keys.NUM_LAYERS: LAYERS}
            if task.startswith("edit") and branch is not types.Branch.UNCONDITIONAL:
                values[keys.SOURCE_LATENT] = torch.ones(source_shape)
            made[branch.value] = [[torch.full((1, 3, LAYERS * WIDTH), 0.2 + 0.3 * number), values]]
        return made["full"], made["unconditional"], made["visual"]

    return make


def run(guider, sampler, sigmas, *, latent=None, noise=None, mask=None, callback=None):
    latent = torch.zeros(SHAPE) if latent is None else latent
    noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(3)) if noise is None else noise
    return guider.sample(
        noise, latent, sampler, sigmas, denoise_mask=mask, callback=callback, disable_pbar=True, seed=3
    )


def branches_of(model):
    """Which conditionings every step ran, by the host's numbers: 0 positive, 1 negative, 2 visual."""
    steps: dict[float, set[int]] = {}
    for indices, timesteps, _ in model.model.diffusion_model.calls:
        steps.setdefault(timesteps[0], set()).update(indices)
    return list(steps.values())


# --- guider ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def guide(part, model, conditionings):
    """Makes a guider with visual conditioning, on the model unless told otherwise."""

    def make(guidance_scale=0.0, visual_guidance_scale=0.0, *, task="edit-video", on=None, visual=True):
        positive, negative, look = conditionings(task)
        return part("nodes.adapter.guider").CascadedGuider(
            on or model,
            positive=positive,
            negative=negative,
            visual=look if visual else None,
            guidance_scale=guidance_scale,
            visual_guidance_scale=visual_guidance_scale,
        )

    return make


@pytest.mark.parametrize(
    ("scales", "visual", "expected"),
    [
        ((2.5, 1.5), True, {0, 1, 2}),
        ((2.5, 1.0), True, {0, 2}),
        ((2.0, 2.0), True, {0, 1}),
        ((1.0, 1.5), True, {0, 1, 2}),
        ((1.0, 1.0), True, {0}),
        ((2.5, 1.5), False, {0, 1}),
        ((1.0, 3.0), False, {0}),
    ],
)
def test_only_branches_that_count_are_run(part, guide, model, scales, visual, expected):
    sampler = part("nodes.adapter.sampler")
    run(guide(*scales, visual=visual), sampler.flow_sampler("euler"), sampler.flow_sigmas(3, shift=5.0))
    assert branches_of(model) == [expected] * 3
