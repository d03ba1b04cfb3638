"""Small checkpoints of every kind, made on the spot."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

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


LARGER = DiTConfig(hidden_size=768, num_heads=6, head_dim=128, num_layers=6, ffn_dim=3584, mllm_dim=1024)
"""About 72 million numbers."""


@pytest.fixture(scope="session")
def large_files(tmp_path_factory):
    """The same 290 MB DiT, in float32, as safetensors and as a pickle."""
    shapes = {name: tensor.shape for name, tensor in LoomDiT(LARGER, device="meta").state_dict().items()}
    state = {name: torch.full(shape, 0.01) for name, shape in shapes.items()}
    paths = {form: tmp_path_factory.mktemp("large") / f"dit.{form}" for form in ("safetensors", "pth")}
    save_file(state, paths["safetensors"])
    torch.save(state, paths["pth"])
    yield paths
    for path in paths.values():
        path.unlink()


# VmHWM and not ru_maxrss, which a child inherits from the process that started it.
MEASURE = """
import sys, torch
{action}
def peak():
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
before = peak()
act(*sys.argv[1:])
print(peak() - before)
"""


@pytest.fixture
def peak_memory(repo_root):
    """Bytes by which a function `act` lets the peak of resident memory grow, in a process of its own."""
    if not sys.platform.startswith("linux"):
        pytest.skip("peak memory is read from /proc")

    def measure(action, *arguments):
        command = [sys.executable, "-c", MEASURE.format(action=action), *map(str, arguments)]
        return int(subprocess.run(command, cwd=repo_root, capture_output=True, text=True, check=True).stdout)

    return measure


@pytest.fixture
def gguf_tensors():
    """Weights of every sort: quantised, of one axis, of five, and raw."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"a.weight": (6, 64), "a.bias": (6,), "conv.weight": (4, 3, 1, 2, 2), "modulation": (1, 6, 4)}
    return {name: torch.randn(shape, generator=generator).bfloat16() for name, shape in shapes.items()}


@pytest.fixture
def gguf_file(gguf_tensors, tmp_path):
    """They as a GGUF file, and its content hash."""
    from loom_core.weights.gguf_saving import GgufEntry, form_for, save_gguf

    path = tmp_path / "m.gguf"
    entries = [
        GgufEntry(
            name,
            tuple(tensor.shape),
            form_for(tensor.shape, tensor.dtype, "Q8_0" if name == "a.weight" else None),
            lambda tensor=tensor: tensor,
        )
        for name, tensor in gguf_tensors.items()
    ]
    return path, save_gguf(path, entries, architecture="wan", metadata={"config": "{}"})
