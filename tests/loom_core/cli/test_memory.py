"""The table of memory by number of GPUs, and the launch files that print it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys

import pytest
from torch.distributed.run import get_args_parser

from loom_core.cli.memory import NUMBERS, memory_lines
from loom_core.cli.train import main
from loom_core.config.training import read_training_config


def test_the_5b_has_a_row_for_each_number_of_gpus(repo_root):
    config = read_training_config(
        repo_root / "configs" / "training" / "stage2.yaml", overrides=["optimiser.device=model"]
    )
    title, where, header, *rows, missing = memory_lines(config)
    assert "30 blocks, 3072 wide, bf16, packs of 16384 tokens, gradient checkpointing" in title
    assert where == "memory of each rank:"
    assert header.split()[:3] == ["GPUs", "weights", "gradients"]
    assert [int(row.split()[0]) for row in rows] == list(NUMBERS)
    assert "models/Qwen3-VL-8B-Instruct" in missing
    assert len({len(row) for row in (header, *rows)}) == 1


def test_muon_is_for_one_gpu(repo_root):
    config = read_training_config(repo_root / "configs" / "training" / "stage2.yaml", overrides=["optimiser.kind=muon"])
    _, _, _, row, alone, _ = memory_lines(config)
    assert row.split()[0] == "1"
    assert alone == "more GPUs only with optimiser.kind=adamw"


def test_the_command_needs_neither_weights_nor_data(repo_root, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["--config", str(repo_root / "configs" / "training" / "stage1.yaml"), "--memory"]) == 0
    said = capsys.readouterr().out
    assert "gradients, optimiser and averages on the CPU" in said
    assert "\n  64 " in said
    monkeypatch.setenv("RANK", "1")
    assert main(["--config", str(repo_root / "configs" / "training" / "stage1.yaml"), "--memory"]) == 0
    assert capsys.readouterr().out == "", "the first one tells"


@pytest.mark.skipif(shutil.which("bash") is None, reason="launch files are for bash")
@pytest.mark.parametrize("name", ["torchrun.sh", "slurm.sbatch"])
def test_a_launch_file_shows_memory_and_command(repo_root, name):
    environment = {**os.environ, "DRY_RUN": "1", "PYTHON": sys.executable, "GPUS": "4"}
    done = subprocess.run(
        ["bash", f"configs/launch/{name}", "--config", "configs/training/stage3.yaml", "--run", "runs/mine"],
        cwd=repo_root, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines if line[:4].strip().isdigit()] == [str(number) for number in NUMBERS]
    assert lines[-1].startswith("command: ")
    given = ["--config", "configs/training/stage3.yaml", "--run", "runs/mine"]
    _, _, command = lines[-1].partition("torch.distributed.run ")
    understood = get_args_parser().parse_args(shlex.split(command))
    assert (understood.module, understood.training_script) == (True, "loom_core.cli.train")
    assert understood.training_script_args == given
    assert ("--standalone" in lines[-1]) == (name == "torchrun.sh")


@pytest.mark.skipif(shutil.which("bash") is None, reason="launch files are for bash")
@pytest.mark.parametrize(("listed", "processes"), [("", 1), ("echo one; echo two; echo three", 3)])
def test_without_a_number_there_is_a_process_for_each_gpu_or_one(repo_root, tmp_path, listed, processes):
    """Also where the command that counts GPUs is missing or fails."""
    command = tmp_path / "nvidia-smi"
    command.write_text(f"#!/bin/sh\n{listed or 'exit 9'}\n")
    command.chmod(0o755)
    environment = {**os.environ, "DRY_RUN": "1", "PYTHON": sys.executable, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    environment.pop("GPUS", None)
    done = subprocess.run(
        ["bash", "configs/launch/torchrun.sh", "--config", "configs/training/stage3.yaml"],
        cwd=repo_root, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f" --nproc-per-node {processes} " in done.stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="launch files are for bash")
def test_machines_without_a_place_to_meet_are_refused(repo_root):
    environment = {**os.environ, "NODES": "2", "GPUS": "1"}
    environment.pop("HOST", None)
    done = subprocess.run(
        ["bash", "configs/launch/torchrun.sh"],
        cwd=repo_root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "found NODES=2 without HOST" in done.stderr
