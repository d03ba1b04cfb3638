"""The config of a run that takes a moment, as a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

MICRO = """
name: micro
model:
  preset: tiny
  sizes: {hidden_size: 32, num_heads: 1, head_dim: 32, num_layers: 2, ffn_dim: 48, time_embed_dim: 32}
precision: fp32
gradient_checkpointing: false
optimiser: {lr: 1e-3, warmup: 0}
validation: {every: 0}
data:
  sets: [{kind: world, options: {count: 9, size: [64, 64], frames: [5], tasks: {text-to-image: 1}}}]
  sizes: [[64, 64]]
  num_frames: 5
  token_budget: 500
  max_samples_per_pack: 2
"""


@pytest.fixture
def write_config(tmp_path) -> Callable[[str], Path]:
    """Writes it with the settings that are given, one at least: its `steps`. The run's folder is `run`, beside it."""

    def write(settings: str) -> Path:
        path = tmp_path / "micro.yaml"
        path.write_text(f"{MICRO}run: {tmp_path / 'run'}\n{settings}", encoding="utf-8")
        return path

    return write
