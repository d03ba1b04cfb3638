"""A small DiT with every part switched on."""

from __future__ import annotations

import pytest
import torch

from loom_core.config.model import DiTConfig
from loom_core.models.dit import LoomDiT
from loom_core.models.initialise import initialise

SMALL = DiTConfig(
    hidden_size=48, num_heads=2, head_dim=24, num_layers=3, ffn_dim=64, in_channels=4, out_channels=4,
    time_embed_dim=32, mllm_dim=20,
)  # fmt: skip


@pytest.fixture
def small_config() -> DiTConfig:
    return SMALL


@pytest.fixture(scope="session")
def small_model() -> LoomDiT:
    """Random weights everywhere, also where training starts from zero."""
    model = LoomDiT(SMALL)
    generator = torch.Generator().manual_seed(7)
    initialise(model, generator=generator)
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
    return model.eval().requires_grad_(False)
