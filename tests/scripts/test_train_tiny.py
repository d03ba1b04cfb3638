"""loom-tiny's training from nothing, a few steps of every part; what a user runs as `make train-tiny SMOKE=1`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading

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


@pytest.fixture
def workshop(load_script, tmp_path):
    script = load_script("train_tiny")
    return script.Workshop(tmp_path, script.SMOKE, threads=1)


@pytest.mark.parametrize(
    ("end", "code"),
    [("sys.exit(130)", 130), ("os.kill(os.getpid(), signal.SIGTERM)", 143), ("sys.exit(3)", 3)],
)
def test_what_was_stopped_is_told_from_what_failed(workshop, caplog, end, code):
    with caplog.at_level("INFO"), pytest.raises(SystemExit) as ended:
        workshop.run("-c", f"import os, signal, sys; {end}", what="stage2")
    assert ended.value.code == code
    assert caplog.messages == (["stage2 was stopped; the same command goes on with it"] if code > 128 else [])


def test_ctrl_c_leaves_a_part_its_time_to_save(workshop, caplog):
    """A terminal sends it to both; the part ends by itself a moment later."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        with caplog.at_level("INFO"), pytest.raises(SystemExit) as ended:
            workshop.run("-c", "import sys, time; time.sleep(1.5); sys.exit(130)", what="stage1")
    except KeyboardInterrupt:
        pytest.fail("not waited for")
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)
    assert ended.value.code == 130
    assert caplog.messages == ["stage1 was stopped; the same command goes on with it"]
