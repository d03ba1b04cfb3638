"""What 0 stands for on the sampling nodes, without ComfyUI."""

from __future__ import annotations

import types
from dataclasses import replace

import pytest
import torch


@pytest.fixture(scope="module")
def settings(stand_in):
    return stand_in("nodes.adapter.sampling.settings")


@pytest.fixture(scope="module")
def released(stand_in):
    return stand_in("loom_core.config.model").LOOMVIDEO_5B


def positive(task=None, **values):
    return [[torch.zeros(1, 1, 1), {**({} if task is None else {"loom_task": task}), **values}]]


@pytest.mark.parametrize(
    ("conditioning", "text"),
    [
        (positive("text-to-video"), 5.0),
        (positive("reference-edit"), 2.5),
        (positive(), 5.0),
        (positive(loom_source_latent=torch.zeros(1)), 2.5),
    ],
)
def test_guidance_of_the_released_model_follows_the_task(settings, released, conditioning, text):
    found = settings.run_settings(released, conditioning)
    assert (found.guidance_scale, found.visual_guidance_scale, found.num_inference_steps) == (text, 1.5, 50)


def test_a_small_model_has_its_own_defaults(settings, released):
    small = replace(released, hidden_size=192, num_heads=3, head_dim=64)
    found = settings.run_settings(small, positive("edit-video"))
    assert (found.guidance_scale, found.visual_guidance_scale, found.num_inference_steps) == (2.0, 1.5, 12)


def test_what_is_given_holds(settings, released):
    found = settings.run_settings(
        released, positive(), steps=7, guidance_scale=3.0, visual_guidance_scale=2.0, solver="euler", shift=0
    )
    assert (found.num_inference_steps, found.guidance_scale, found.visual_guidance_scale) == (7, 3.0, 2.0)
    assert (found.solver, found.shift) == ("euler", None)


def test_default_steps(settings, released):
    model = types.SimpleNamespace(model=types.SimpleNamespace(loom_config=released))
    assert settings.default_steps() == settings.default_steps(model) == 50


def test_tokens_of_target_and_references(settings):
    latent = {"samples": torch.zeros(1, 48, 2, 4, 6)}
    conditioning = positive(reference_latents=[torch.zeros(1, 48, 1, 8, 8)])
    assert settings.token_count(latent) == 12
    assert settings.token_count(latent, conditioning) == 12 + 16
