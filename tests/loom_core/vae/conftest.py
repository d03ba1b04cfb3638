"""Fixtures of the codec tests."""

from __future__ import annotations

import pytest

from loom_core.vae.linear import LinearCodec
from loom_core.vae.wan import WanCodec


@pytest.fixture(scope="session")
def wan_folder(golden_dir):
    """A tiny random VAE of Wan 2.2 form, as diffusers saves it."""
    return golden_dir / "models" / "tiny" / "vae"


@pytest.fixture(scope="session")
def wan_weights(wan_folder):
    return wan_folder / "diffusion_pytorch_model.safetensors"


@pytest.fixture
def wan_codec(wan_folder):
    pytest.importorskip("diffusers", reason="the Wan 2.2 VAE is diffusers' (extra `vae`)")
    return WanCodec.load(wan_folder)


@pytest.fixture(scope="session")
def linear_path(repo_root):
    return repo_root / "loom_core" / "assets" / "loom_tiny" / "codec.safetensors"


@pytest.fixture(scope="session")
def linear_codec(linear_path):
    return LinearCodec.load(linear_path)
