"""A small model, its file, and LoRAs of it in every way in which files have them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from loom_core.config.model import DiTConfig
from loom_core.models.dit import LoomDiT
from loom_core.types import Condition
from loom_core.weights.loading import load_dit
from loom_core.weights.saving import entries_of, save_safetensors

SMALL = DiTConfig(
    hidden_size=24, num_heads=2, head_dim=12, num_layers=2, ffn_dim=40, time_embed_dim=16, mllm_dim=8, in_channels=4,
    out_channels=4,
)  # fmt: skip


@pytest.fixture(scope="session")
def small() -> DiTConfig:
    return SMALL


@pytest.fixture(scope="session")
def state() -> dict[str, Tensor]:
    """Weights that all do something."""
    generator = torch.Generator().manual_seed(0)
    shapes = {name: weight.shape for name, weight in LoomDiT(SMALL, device="meta").state_dict().items()}
    return {name: 0.2 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


@pytest.fixture
def write(tmp_path) -> Callable[..., Path]:
    """Writes a state as a file of a DiT."""

    def make(state: dict[str, Tensor], name: str = "base.safetensors", dtype: torch.dtype | None = None) -> Path:
        metadata = {"format": "loomvideo-dit", "config": SMALL.to_json()}
        save_safetensors(tmp_path / name, entries_of(state, dtype=dtype), metadata=metadata)
        return tmp_path / name

    return make


@pytest.fixture
def base(write, state) -> Path:
    return write(state)


@pytest.fixture
def write_lora(tmp_path) -> Callable[..., Path]:
    """Writes tensors as they are."""

    def make(tensors: dict[str, Tensor], name: str = "some_lora.safetensors", metadata=None) -> Path:
        save_file({key: tensor.clone().contiguous() for key, tensor in tensors.items()}, tmp_path / name, metadata)
        return tmp_path / name

    return make


@pytest.fixture
def model(base) -> LoomDiT:
    return load_dit(base)


@pytest.fixture
def velocity() -> Callable[[LoomDiT], Tensor]:
    """What a model predicts for a sample with everything."""
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(1, 4, 2, 4, 4, generator=generator)
    states = tuple(torch.randn(5, 8, generator=generator) for _ in range(2))
    condition = Condition(mllm_hidden_states=states, source_latents=torch.randn(4, 2, 4, 4, generator=generator))

    def predict(model: LoomDiT) -> Tensor:
        with torch.no_grad():
            return model(latents, torch.tensor([500.0]), [condition])

    return predict


@pytest.fixture
def factors(state) -> dict[str, tuple[Tensor, Tensor]]:
    """Module -> (up, down) of rank 3."""
    generator = torch.Generator().manual_seed(2)
    modules = ("blocks.0.self_attn.q", "blocks.1.cross_attn.o", "blocks.1.ffn.0", "mllm_embedder.linear_2")
    return {
        module: (
            0.3 * torch.randn(state[f"{module}.weight"].shape[0], 3, generator=generator),
            0.3 * torch.randn(3, state[f"{module}.weight"].shape[1], generator=generator),
        )
        for module in modules
    }


@pytest.fixture
def plain(factors) -> dict[str, Tensor]:
    """A LoRA in our own names, alpha 6 of rank 3."""
    tensors = {}
    for module, (up, down) in factors.items():
        name = f"diffusion_model.{module}"
        tensors |= {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up, f"{name}.alpha": torch.tensor(6.0)}
    return tensors
