"""A small model whose velocity is known, as the host's MODEL, and conditioning for it."""

from __future__ import annotations

from importlib import import_module
from typing import ClassVar

import pytest
import torch

LAYERS, WIDTH, CHANNELS = 2, 8, 48
SHAPE = (1, CHANNELS, 2, 4, 4)
PUSH = {"unconditional": 0.2, "visual": 0.5, "full": 0.8}
"""Mean of each branch's conditioning, on which the velocity depends."""


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
        from comfy import patcher_extension

        options = transformer_options or {}
        wrappers = patcher_extension.get_all_wrappers(patcher_extension.WrappersMP.DIFFUSION_MODEL, options)
        executor = patcher_extension.WrapperExecutor.new_class_executor(self._forward, self, wrappers)
        return executor.execute(x, timestep, context, options)

    def _forward(self, x, timestep, context, options):
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
    from comfy import latent_formats, model_base, model_management, model_patcher, model_sampling, supported_models_base

    class Format(latent_formats.LatentFormat):
        latent_channels, latent_dimensions, spacial_downscale_ratio = CHANNELS, 3, 16
        latent_rgb_factors = [[0.01, 0.0, 0.0]] * CHANNELS

    class Config(supported_models_base.BASE):
        unet_config: ClassVar = {}
        sampling_settings: ClassVar = {"shift": 5.0}
        latent_format = Format
        memory_usage_factor = 1e-6

    class IntegerTimesteps(model_sampling.ModelSamplingDiscreteFlow, model_sampling.CONST):
        def timestep(self, sigma):
            return (sigma * self.multiplier).floor()

    def make(fails=(), *, integer_timesteps=False):
        config = Config({"disable_unet_model_creation": True})
        model = model_base.BaseModel(config, model_type=model_base.ModelType.FLOW)
        if integer_timesteps:
            model.model_sampling = IntegerTimesteps(config)
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
        for branch in types.Branch:
            values = {keys.TASK: task, keys.BRANCH: branch.value, keys.NUM_LAYERS: LAYERS}
            if task.startswith("edit") and branch is not types.Branch.UNCONDITIONAL:
                values[keys.SOURCE_LATENT] = torch.ones(source_shape)
            made[branch.value] = [[torch.full((1, 3, LAYERS * WIDTH), PUSH[branch.value]), values]]
        return made["full"], made["unconditional"], made["visual"]

    return make


@pytest.fixture
def noise():
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def run(noise):
    """Samples with a guider, from `noise`."""

    def sample(guider, sampler, sigmas, *, latent=None, mask=None, callback=None):
        latent = torch.zeros(SHAPE) if latent is None else latent
        return guider.sample(noise, latent, sampler, sigmas, mask, callback, disable_pbar=True, seed=3)

    return sample


@pytest.fixture
def branches_of():
    """Which conditionings every step ran, by the host's numbers: 0 positive, 1 negative, 2 visual."""

    def read(model):
        """Which conditionings every step ran, by the host's numbers: 0 positive, 1 negative, 2 visual."""
        steps: dict[float, set[int]] = {}
        for indices, timesteps, _ in model.model.diffusion_model.calls:
            steps.setdefault(timesteps[0], set()).update(indices)
        return list(steps.values())

    return read


@pytest.fixture
def guide(part, model, conditionings):
    """Makes a guider, with visual conditioning, on `model` and with nothing left out unless told otherwise."""

    def make(text, look, *, task="edit-video", on=None, visual=True, **shortcuts):
        positive, negative, only_pictures = conditionings(task)
        return part("nodes.adapter.sampling.guider").CascadedGuider(
            on or model,
            positive=positive,
            negative=negative,
            visual=only_pictures if visual else None,
            settings=part("loom_core.config.sampling").SamplingConfig(
                guidance_scale=text,
                visual_guidance_scale=look,
                shortcuts=part("loom_core.config.speed").Shortcuts(**shortcuts),
            ),
        )

    return make


@pytest.fixture
def sampler(part):
    return part("nodes.adapter.sampling.sampler")


@pytest.fixture
def velocity(part):
    """Makes the guided velocity of given weights, as `loom_core` would compute it."""

    def make(weights):
        def guided(latents, timestep):
            states = {branch: torch.full((1, 3, LAYERS * WIDTH), PUSH[branch.value]) for branch in weights}
            predictions = {branch: Flow.velocity(latents, timestep, states[branch]) for branch in weights}
            return part("loom_core.sampling.guidance").combine(predictions, weights)

        return guided

    return make
