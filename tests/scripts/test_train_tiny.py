"""loom-tiny's training from nothing, a few steps of every part; what a user runs as `make train-tiny SMOKE=1`."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch

from loom_core.bundle import find_model
from loom_core.vae.loading import load_codec
from loom_core.weights.reading import open_checkpoint

pytest.importorskip("transformers", reason="Qwen3-VL comes from transformers")


@pytest.fixture(scope="module")
def made(repo_root, tmp_path_factory):
    """The folder that the smoke run leaves behind, and what it said."""
    folder = tmp_path_factory.mktemp("smoke")
    environment = {**os.environ, "PYTHONPATH": str(repo_root)}
    command = [sys.executable, str(repo_root / "scripts" / "train_tiny.py"), "--smoke", "--work", str(folder)]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stderr


def test_losses_fall_and_a_killed_run_continues_as_if_it_had_not_been(made):
    # the script itself fails otherwise; here that it looked
    _, said = made
    assert said.count("held-out loss") == 3
    assert "killed after" in said


def test_what_is_made_is_a_whole_model(made):
    folder, _ = made
    files = find_model(folder / "model")
    config = files.check()
    assert config.has_source and config.has_projector
    codec = load_codec(files.codec, dtype=torch.float32, device=torch.device("cpu"))
    assert codec.encode(torch.zeros(1, 3, 5, 32, 32)).shape == (1, config.in_channels, 2, 2, 2)
    metadata = open_checkpoint(files.dit).metadata
    assert set(json.loads(metadata["training"])) == {"mllm", "stage1", "stage2", "stage3"}
