"""The table of memory by number of GPUs, and the launch files that print it."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time

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


SLURM = {
    "srun": "trap 'echo saved > saved; exit 143' TERM; echo $$ > srun.pid\n"
    'echo "$NODES $GPUS $HOST $RUN_ID $*" > step; while :; do sleep 0.1; done',
    "scancel": 'kill -TERM "$(cat srun.pid)"',
    "scontrol": 'if [ "$1" = show ]; then printf "first\\nsecond\\n"; else echo "$*" > queued; fi',
}
"""Commands of Slurm that keep what they were told in the folder they are called in."""


@pytest.mark.skipif(shutil.which("bash") is None, reason="launch files are for bash")
def test_a_slurm_job_whose_time_is_over_is_saved_and_queued_again(repo_root, tmp_path):
    for name, body in SLURM.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    environment = {
        **os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_NNODES": "2", "SLURM_GPUS_ON_NODE": "4",
        "SLURM_JOB_ID": "20007", "SLURM_JOB_NODELIST": "several",
    }  # fmt: skip
    script = repo_root / "configs" / "launch" / "slurm.sbatch"
    job = subprocess.Popen(["bash", str(script), "--config", "stage2.yaml"], cwd=tmp_path, env=environment)
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "step").is_file() or not (tmp_path / "step").read_text():
            assert time.monotonic() < deadline and job.poll() is None
            time.sleep(0.05)
        told = (tmp_path / "step").read_text().split()
        job.send_signal(signal.SIGUSR1)
        assert job.wait(60) == 0
    finally:
        job.kill()
    assert told[:4] == ["2", "4", "first:20007", "20007"]
    assert told[-3:] == ["configs/launch/torchrun.sh", "--config", "stage2.yaml"]
    assert (tmp_path / "saved").is_file(), "the run is asked to save before the job is queued again"
    assert (tmp_path / "queued").read_text().split() == ["requeue", "20007"]
