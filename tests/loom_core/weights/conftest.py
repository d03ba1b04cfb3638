"""Small checkpoints of every kind, made on the spot."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from loom_core.config.model import DiTConfig
from loom_core.models.dit import LoomDiT
from loom_core.weights.key_maps import to_diffusers

SMALL = DiTConfig(
    hidden_size=128, num_heads=1, head_dim=128, num_layers=2, ffn_dim=64, in_channels=48, time_embed_dim=32, mllm_dim=16
)


@pytest.fixture(scope="session")
def small_config():
    """A LoomVideo whose heads have the usual width, so that its shapes alone settle its configuration."""
    return SMALL


@pytest.fixture
def make_state():
    """A state dict of a small DiT under Wan-native names; `config` fields may be overridden."""

    def make(**overrides):
        model = LoomDiT(replace(SMALL, **overrides), device="meta")
        generator = torch.Generator().manual_seed(0)
        return {
            name: torch.randn(tensor.shape, generator=generator) * 0.1 for name, tensor in model.state_dict().items()
        }

    return make


@pytest.fixture
def as_official():
    """Rename a Wan-native state dict to the names of official files, dead text embedder included."""

    def rename(state):
        dead = {
            f"condition_embedder.text_embedder.linear_{index}.{part}": torch.zeros(2, 2)[: 1 if part == "bias" else 2]
            for index in (1, 2)
            for part in ("weight", "bias")
        }
        return {to_diffusers(name): tensor for name, tensor in state.items()} | dead

    return rename


@pytest.fixture(scope="session")
def weights_dir(golden_dir):
    return golden_dir / "weights"


@pytest.fixture(scope="session")
def load_check(weights_dir):
    """Inputs and expected velocities of the official loader, and the micro model's configuration."""
    return load_file(weights_dir / "load_check.safetensors"), json.loads((weights_dir / "load_check.json").read_text())
