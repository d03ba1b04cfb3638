"""A small LoomVideo with random weights: as `loom_core` runs it, as files of every kind, and as the host's MODEL."""

from __future__ import annotations

from importlib import import_module

import pytest
import torch

SHAPE = (1, 48, 3, 4, 6)
SIGMA = 0.7135
"""Timestep 713.5: the model is told 713."""


@pytest.fixture(scope="session")
def part(pack):
    """A module of the pack by its name."""
    return lambda name: import_module(f"{pack.__name__}.{name}")


@pytest.fixture(scope="session")
def config(part):
    """One head of the usual width, so that shapes alone settle it."""
    return part("loom_core.config.model").DiTConfig(
        hidden_size=128, num_heads=1, head_dim=128, num_layers=3, ffn_dim=64, time_embed_dim=32, mllm_dim=16
    )


@pytest.fixture(scope="session")
def dit(part, config):
    """The model as `loom_core` has it, in float32; random also where training starts from zero."""
    model = part("loom_core.models.dit").LoomDiT(config)
    generator = torch.Generator().manual_seed(0)
    part("loom_core.models.initialise").initialise(model, generator=generator)
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
    return model.eval().requires_grad_(False)


@pytest.fixture
def state(dit):
    """Its weights, by name."""
    return {name: tensor.clone() for name, tensor in dit.state_dict().items()}


@pytest.fixture
def write(tmp_path):
    """Writes a file of weights."""
    from safetensors.torch import save_file

    def make(tensors, name="small.safetensors", metadata=None):
        path = tmp_path / name
        save_file({key: tensor.clone().contiguous() for key, tensor in tensors.items()}, path, metadata=metadata)
        return path

    return make


@pytest.fixture
def load(part):
    """Loads a file as a MODEL."""
    loading = part("nodes.adapter.model.loading")
    return lambda path, **options: loading.load_model(str(path), loading.ModelOptions(**options))


@pytest.fixture
def model(load, write, state):
    return load(write(state))


@pytest.fixture
def make_condition(part, config):
    """Makes a random `Condition` of `loom_core`, with normalised latents."""
    types = part("loom_core.types")

    def make(length=5, *, source=None, references=(), seed=0, indices=(), **more):
        generator = torch.Generator().manual_seed(seed)
        # rounded to bfloat16, as conditioning carries them
        states = torch.randn(config.num_layers, length, config.mllm_dim, generator=generator).bfloat16().float()
        latents = [torch.randn(48, *size, generator=generator) for size in references]
        indices = (*indices, *[None] * len(latents))
        return types.Condition(
            states.unbind(0),
            None if source is None else torch.randn(48, *source, generator=generator),
            tuple(types.Reference(latent, index) for latent, index in zip(latents, indices, strict=False)),
            **more,
        )

    return make


@pytest.fixture
def conditioning(part):
    """A `Condition` as the host's CONDITIONING, its latents as the VAE would have made them."""
    keys, types, vae = part("nodes.adapter.conditioning"), part("loom_core.types"), part("loom_core.vae.latents")

    def raw(latents):
        return vae.denormalise(latents[None], vae.WAN22_STATISTICS)

    def make(condition):
        branch = types.Branch.FULL
        made = keys.make_conditioning(condition.mllm_hidden_states, task=types.Task.EDIT_VIDEO, branch=branch)
        values = made[0][1]
        if condition.source_latents is not None:
            values[keys.SOURCE_LATENT] = raw(condition.source_latents)
            values[keys.SOURCE_STRENGTH] = condition.source_strength
            values[keys.SOURCE_CURVE] = condition.source_curve
            if condition.source_mask is not None:
                values[keys.SOURCE_MASK] = condition.source_mask[None]
        if condition.references:
            values[keys.REFERENCE_LATENTS] = [raw(reference.latents) for reference in condition.references]
            indices = [reference.temporal_index for reference in condition.references]
            values[keys.REFERENCE_INDICES] = tuple(index for index in indices if index is not None)
        return made

    return make


@pytest.fixture
def noise():
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def velocities():
    """What a MODEL predicts under several conditionings in one call of the host's, as velocities."""
    from comfy import model_management, sampler_helpers, samplers

    def predict(patcher, x, *conditionings, sigma=SIGMA, **options):
        model_management.load_models_gpu([patcher])
        patcher.pre_run()
        conds = {name: sampler_helpers.convert_cond(one) for name, one in enumerate_names(conditionings)}
        model_options = {
            **patcher.model_options,
            "transformer_options": {**patcher.model_options["transformer_options"]},
        }
        model_options["transformer_options"].update(options)
        try:
            processed = samplers.process_conds(patcher.model, x, conds, torch.device("cpu"))
            sigmas = torch.full((len(x),), sigma)
            clean = samplers.calc_cond_batch(patcher.model, list(processed.values()), x, sigmas, model_options)
        finally:
            patcher.cleanup()
        return [(x - one) / sigma for one in clean]

    def enumerate_names(conditionings):
        return [("positive" if index == 0 else f"other_{index}", one) for index, one in enumerate(conditionings)]

    return predict


@pytest.fixture
def expected(dit):
    """What `loom_core` predicts under one condition a sample, at the timestep that the model is told."""

    def predict(x, *conditions, timestep=int(SIGMA * 1000)):
        conditions = conditions if len(conditions) == len(x) else conditions * len(x)
        return dit(x, torch.full((len(x),), timestep), dit.prepare(conditions, x))

    return predict
