"""Fixtures that every test may use."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def _by_path(name: str, path: str):
    """A module below tests/: the tests are no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tests" / path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def repo_root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    """Reference numbers of the official code; LOOM_GOLDEN_DIR names a larger set of the same layout."""
    return Path(os.environ.get("LOOM_GOLDEN_DIR", ROOT / "tests" / "golden"))


@pytest.fixture(scope="session")
def reference_dit():
    """The slow DiT of tests/reference."""
    return _by_path("reference_dit", "reference/dit.py").forward


@pytest.fixture(scope="session")
def harbour() -> Path:
    """A clip with sound: 320 x 192, 49 frames at 24 a second."""
    return ROOT / "demo" / "harbour.mp4"


@pytest.fixture(scope="session")
def still() -> Path:
    """A still image, 128 x 128."""
    return ROOT / "demo" / "shapes.png"


@pytest.fixture(scope="session")
def small_dit(tmp_path_factory) -> Path:
    """Weights of a DiT small enough to run in a moment, for the built-in MLLM and codec; random everywhere."""
    import torch

    from loom_core.config.model import DiTConfig
    from loom_core.models.dit import LoomDiT
    from loom_core.models.initialise import initialise
    from loom_core.weights.saving import entries_of, save_safetensors

    config = DiTConfig(
        hidden_size=48, num_heads=2, head_dim=24, num_layers=2, ffn_dim=64, time_embed_dim=32, mllm_dim=128
    )
    model = LoomDiT(config)
    generator = torch.Generator().manual_seed(0)
    initialise(model, generator=generator)
    for parameter in model.parameters():
        parameter.data += 0.02 * torch.randn(parameter.shape, generator=generator)
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    save_safetensors(
        path, entries_of(model.state_dict()), metadata={"format": "loomvideo-dit", "config": config.to_json()}
    )
    return path


@pytest.fixture(scope="session")
def small_files(small_dit):
    """The small DiT with the built-in MLLM and codec."""
    from loom_core.bundle import BUILT_IN, find_model

    return find_model(small_dit, mllm=BUILT_IN / "mllm", codec=BUILT_IN / "codec.safetensors")


@pytest.fixture(scope="module")
def stand_in():
    """Imports a module of the node pack by its name, without ComfyUI; see stand_ins.py."""
    module = _by_path("loom_stand_ins", "stand_ins.py")
    if module.loaded_hosts():
        pytest.skip("ComfyUI itself is loaded in this process")
    with module.stand_ins() as load:
        yield load


@pytest.fixture(scope="module")
def schemas(stand_in):
    """Schema of every node of the pack, by id."""
    return {node.GET_SCHEMA().node_id: node.GET_SCHEMA() for node in stand_in("nodes.catalogue").NODES}


@pytest.fixture(scope="session")
def processes():
    """Runs functions in several processes that are a group; see ranks.py."""
    return _by_path("loom_ranks", "ranks.py")
