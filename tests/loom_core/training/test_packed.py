"""The loss of a pack: draws that belong to samples, and sums of squared errors that can be added up."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from loom_core.config.model import DiTConfig
from loom_core.data.sample import EncodedSample
from loom_core.data.tasks import training_task
from loom_core.models.dit import LoomDiT
from loom_core.models.initialise import initialise
from loom_core.sampling.schedule import token_shift
from loom_core.training.flow import noised_latents, velocity_target
from loom_core.training.packed import draw, pack_errors
from loom_core.training.timesteps import noise_levels
from loom_core.types import Condition, Reference

CONFIG = DiTConfig(
    hidden_size=48, num_heads=2, head_dim=24, num_layers=2, ffn_dim=64, in_channels=4, out_channels=4,
    time_embed_dim=32, mllm_dim=20,
)  # fmt: skip


def sample(*size, seed, references=()):
    generator = torch.Generator().manual_seed(seed)
    return EncodedSample(
        key=str(seed),
        task=training_task("reference-edit"),
        instruction="",
        target=torch.randn(4, *size, generator=generator),
        source=torch.randn(4, *size, generator=generator),
        references=tuple(torch.randn(4, *shape, generator=generator) for shape in references),
        seed=seed,
    )


SAMPLES = [sample(2, 4, 4, seed=1), sample(1, 16, 16, seed=2, references=[(1, 16, 8)]), sample(1, 4, 6, seed=3)]


def conditions_of(samples):
    generator = torch.Generator().manual_seed(11)
    states = [[torch.randn(3 + n, 20, generator=generator) for _ in range(2)] for n in range(len(samples))]
    return [
        Condition(tuple(layers), each.source, tuple(Reference(latents) for latents in each.references))
        for each, layers in zip(samples, states, strict=True)
    ]


@pytest.fixture(scope="module")
def model():
    made = LoomDiT(CONFIG)
    generator = torch.Generator().manual_seed(5)
    initialise(made, generator=generator)
    for parameter in made.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
    return made


def errors_of(model, samples=SAMPLES, **options):
    return pack_errors(
        model, [each.target for each in samples], conditions_of(samples), draw(samples, shift_scale=0.5), **options
    )


def test_draws_belong_to_the_sample_wherever_it_is_packed():
    together, alone = draw(SAMPLES, shift_scale=0.5), draw(SAMPLES[1:2], shift_scale=0.5)
    assert torch.equal(together.levels[1:2], alone.levels)
    assert torch.equal(together.noises[1], alone.noises[0])
    again = draw([replace(SAMPLES[1], seed=99)], shift_scale=0.5)
    assert not torch.equal(again.levels, alone.levels)
    assert not torch.equal(again.noises[0], alone.noises[0])


def test_the_shift_counts_references():
    """64 target and 32 reference tokens are shifted, 64 alone are not."""
    levels = [draw([each], shift_scale=0.5).levels for each in (SAMPLES[1], replace(SAMPLES[1], references=()))]
    assert token_shift(96, scale=0.5) > 1
    normal = levels[1].logit()
    torch.testing.assert_close(levels[0], noise_levels(normal, torch.tensor([token_shift(96, scale=0.5)])))


def test_errors_are_those_of_the_samples_one_by_one(model):
    errors, draws = errors_of(model), draw(SAMPLES, shift_scale=0.5)
    conditions = conditions_of(SAMPLES)
    for place, each in enumerate(SAMPLES):
        noise, level = draws.noises[place], draws.levels[place]
        noised = noised_latents(each.target, noise, level)[None]
        prediction = model(noised, level[None] * 1000, [conditions[place]])
        expected = (prediction[0] - velocity_target(each.target, noise)).square().sum()
        torch.testing.assert_close(errors[place], expected, rtol=1e-5, atol=1e-4)


def test_rounded_timesteps_are_a_matter_of_the_model_which_is_told_the_exact_time(model):
    told = []
    handle = model.register_forward_pre_hook(
        lambda _module, args, kwargs: told.append((args[1], kwargs["rounded_time"])), with_kwargs=True
    )
    try:
        errors_of(model)
        errors_of(model, rounded_timesteps=True)
    finally:
        handle.remove()
    assert torch.equal(told[0][0], told[1][0])
    assert [rounded for _, rounded in told] == [False, True]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_trains_under_autocast(model, checkpointing):
    """Float32 weights, bfloat16 arithmetic: a float32 loss near that without autocast, which reaches all weights."""
    exact = errors_of(model).sum()
    with torch.autocast("cpu", torch.bfloat16):
        errors = errors_of(model, checkpointing=checkpointing)
    assert errors.dtype == torch.float32
    torch.testing.assert_close(errors.sum(), exact, rtol=2e-2, atol=0)
    model.zero_grad()
    errors.sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.dtype == torch.float32
        assert parameter.grad.isfinite().all() and parameter.grad.any(), name


def test_small_samples_are_shifted_from_a_smaller_size_on():
    usual, shifted = draw(SAMPLES, shift_scale=0.5), draw(SAMPLES, shift_scale=0.5, base_tokens=1)
    assert (shifted.levels > usual.levels).all()
    assert all(torch.equal(*pair) for pair in zip(usual.noises, shifted.noises, strict=True))
