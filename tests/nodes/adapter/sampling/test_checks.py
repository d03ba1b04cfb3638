"""What a model cannot be sampled with, without ComfyUI."""

from __future__ import annotations

import types

import pytest
import torch


@pytest.fixture(scope="module")
def checks(stand_in):
    return stand_in("nodes.adapter.sampling.checks")


@pytest.fixture(scope="module")
def config(stand_in):
    return stand_in("loom_core.config.model").DiTConfig(
        hidden_size=48, num_heads=2, head_dim=24, num_layers=2, ffn_dim=64, time_embed_dim=32, mllm_dim=8
    )


@pytest.fixture(scope="module")
def errors(stand_in):
    return stand_in("loom_core.errors")


def test_a_model_of_another_kind(checks, errors, config):
    mine = types.SimpleNamespace(model=types.SimpleNamespace(loom_config=config))
    assert checks.config_of(mine) is config
    with pytest.raises(errors.WeightsError, match=r"another kind.*LoomVideo Model Loader"):
        checks.config_of(types.SimpleNamespace(model=torch.nn.Linear(1, 1)))


def test_conditioning_that_fits(checks, config):
    checks.check_conditioning([[torch.zeros(1, 3, 16), {}]], config=config, name="positive")


@pytest.mark.parametrize(
    ("conditioning", "says"),
    [
        ([], "an empty conditioning at positive"),
        ([[torch.zeros(1, 3, 768), {}]], "768 numbers a token"),
        ([[torch.zeros(1, 3, 40), {"loom_num_layers": 5}]], "5 layers of 8 numbers"),
        ([[None, {}]], "0 numbers"),
    ],
)
def test_conditioning_of_another_model(checks, errors, config, conditioning, says):
    with pytest.raises(errors.ConfigError, match=says):
        checks.check_conditioning(conditioning, config=config, name="positive")


@pytest.mark.parametrize(
    ("latents", "values", "says"),
    [
        (torch.zeros(1, 16, 2, 4, 4), {}, "16 channels"),
        (torch.zeros(1, 48, 4, 4), {}, "4 dimensions"),
        (torch.zeros(1, 48, 2, 3, 4), {}, "5 frames of 64 x 48"),
        (torch.full((1, 48, 2, 4, 4), torch.nan), {}, "not finite"),
        (torch.zeros(1, 48, 2, 4, 4), {"loom_source_latent": torch.zeros(1, 48, 3, 4, 4)}, "9 frames of 64 x 64"),
        (torch.zeros(1, 48, 2, 4, 4), {"reference_latents": [torch.zeros(1, 16, 1, 4, 4)]}, "reference 1 with 16"),
    ],
)
def test_latents_that_do_not_fit(checks, errors, config, latents, values, says):
    with pytest.raises(errors.ConfigError, match=says):
        checks.check_latents(latents, config=config, conditions=[values])


def test_latents_that_fit(checks, config):
    source = {"loom_source_latent": torch.zeros(1, 48, 2, 4, 4), "reference_latents": [torch.zeros(1, 48, 1, 8, 6)]}
    checks.check_latents(torch.zeros(2, 48, 2, 4, 4), config=config, conditions=[source, {}])
