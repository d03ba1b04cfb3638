"""The built-in VAE, a small one of the host's own kind, and pictures to encode."""

from __future__ import annotations

from importlib import import_module

import pytest
import torch


@pytest.fixture
def part(pack):
    """A module of the pack by its name."""
    return lambda name: import_module(f"{pack.__name__}.{name}")


@pytest.fixture
def errors(part):
    return part("loom_core.errors")


@pytest.fixture
def codec_path(part):
    return part("loom_core.bundle").BUILT_IN / "codec.safetensors"


@pytest.fixture
def built_in(part):
    return part("nodes.adapter.vae").load_vae("built-in: loom-tiny")


@pytest.fixture
def codec(part, codec_path):
    return part("loom_core.vae.linear").LinearCodec.load(codec_path)


@pytest.fixture
def wan(built_in):
    """The host's own Wan 2.2 VAE with few and random weights, behind the host's VAE."""
    from comfy import model_management
    from comfy.ldm.wan.vae2_2 import WanVAE
    from comfy.model_patcher import CoreModelPatcher

    torch.manual_seed(0)
    with torch.inference_mode(False), torch.no_grad():
        model = WanVAE(
            dim=8, dec_dim=8, z_dim=48, dim_mult=[1, 2, 4, 4], num_res_blocks=1, temperal_downsample=[False, True, True]
        ).eval()
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.1)
    built_in.first_stage_model, built_in.disable_offload = model, False
    model_management.archive_model_dtypes(model)
    built_in.memory_used_encode = lambda shape, _: 3300 * shape[3] * shape[4] * 4
    built_in.patcher = CoreModelPatcher(model, built_in.device, model_management.vae_offload_device())
    return built_in


@pytest.fixture
def picture():
    """Makes IMAGE frames of smooth noise that changes slowly, [frames, height, width, channels] in [0, 1]."""

    def make(frames=1, height=64, width=96, channels=3, seed=0):
        generator = torch.Generator().manual_seed(seed)
        coarse = torch.rand(1, channels, 2, max(1, height // 32), max(1, width // 32), generator=generator)
        size = (max(2, frames), height, width)
        return torch.nn.functional.interpolate(coarse, size=size, mode="trilinear")[0, :, :frames].movedim(0, -1)

    return make


@pytest.fixture
def cancel():
    """Cancels the running prompt, as the button does; nothing stays cancelled after the test."""
    from comfy import model_management

    yield model_management.interrupt_current_processing
    model_management.interrupt_current_processing(False)
