"""The train command: its exit codes, its plan, a run stopped and taken up again."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from loom_core.cli.exits import run
from loom_core.cli.train import build_parser, describe, main, to_config
from loom_core.media.encode import write_video
from loom_core.training.checkpoint import newest_checkpoint, read_state
from loom_core.training.planning import plan_run


@pytest.fixture
def config_file(write_config):
    return write_config("steps: 2")


def test_a_run_that_ended_early_goes_on_with_the_same_command(config_file, tmp_path, capsys):
    command = ["--config", str(config_file), "--device", "cpu"]
    assert run(main, [*command, "--steps", "1"]) == 0
    assert "1 of 1 steps" in capsys.readouterr().out
    assert run(main, command) == 0
    captured = capsys.readouterr()
    assert "2 of 2 steps" in captured.out
    assert "goes on from" in captured.err
    assert [path.name for path in sorted((tmp_path / "run" / "checkpoints").iterdir())] == [
        "step-000001",
        "step-000002",
    ]
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert {row["step"] for row in rows if "loss" in row} >= {1, 2}


def test_a_second_process_in_the_same_folder_is_refused_and_harms_nothing(config_file, tmp_path, capsys):
    run_folder = tmp_path / "run"
    partial = run_folder / "checkpoints" / ".step-000001.partial"  # as the first one has it while it saves
    partial.mkdir(parents=True)
    holder = subprocess.Popen(
        [sys.executable, "-c", "import sys; from pathlib import Path; from loom_core.training.run_lock import RunLock\n"
         "lock = RunLock(Path(sys.argv[1])); print(flush=True); sys.stdin.read()", str(run_folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    holder.stdout.readline()
    try:
        assert run(main, ["--config", str(config_file), "--device", "cpu", "--quiet"]) == 4
        assert f"another process trains (process {holder.pid})" in capsys.readouterr().err
        assert partial.is_dir()
        assert sorted(path.name for path in run_folder.iterdir()) == ["checkpoints", "training.lock"]
    finally:
        holder.communicate()
    assert run(main, ["--config", str(config_file), "--device", "cpu", "--quiet"]) == 0
    assert not partial.exists()


@pytest.mark.parametrize(("read_ahead", "number", "code"), [(0, signal.SIGINT, 130), (1, signal.SIGTERM, 143)])
def test_a_signal_to_the_whole_group_is_a_normal_stop_with_its_code(config_file, tmp_path, read_ahead, number, code):
    """As a terminal, a scheduler or a service manager sends it: to the trainer and to what decodes for it."""
    command = [sys.executable, "-m", "loom_core.cli.train", "--config", str(config_file), "--device", "cpu",
               "--steps", "100000", "--threads", "1", "--set", "data.workers=2",
               "--set", f"read_ahead={read_ahead}", "--quiet"]  # fmt: skip
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True)
    metrics = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    try:
        while not (metrics.exists() and '"loss"' in metrics.read_text()) and time.monotonic() < deadline:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.05)
        os.killpg(process.pid, number)
        _, err = process.communicate(timeout=60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == code, err
    # packages may warn when they are imported, as torchao does; a process that died of the signal would leave a trace
    assert re.search(r"Traceback|Error\b|Exception|Interrupt", err) is None, err
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    last = max(row["step"] for row in rows if "loss" in row)
    assert read_state(newest_checkpoint(tmp_path / "run")).step == last


def test_a_broken_video_among_a_thousand_is_counted_and_the_run_goes_on(write_config, tmp_path, capsys):
    """An epoch is 999 samples that can be used, so that 1,000 of them need all to be looked at."""
    clips, whole, count, per_pack = tmp_path / "clips", tmp_path / "whole.mp4", 1000, 100
    clips.mkdir()
    (tmp_path / "caption.txt").write_text("a clip")
    write_video(whole, [torch.arange(5, dtype=torch.uint8).mul(40).view(5, 1, 1, 1).expand(5, 32, 32, 3)], fps=24.0,
                size=(32, 32))  # fmt: skip
    (tmp_path / "broken.mp4").write_bytes(whole.read_bytes()[:300])
    for number in range(count):
        path = clips / f"{number:04d}.mp4"
        path.hardlink_to(whole if number != 417 else tmp_path / "broken.mp4")
        path.with_suffix(".txt").hardlink_to(tmp_path / "caption.txt")
    sets = f"data.sets=[{{kind: folder, name: clips, path: {clips}, tasks: [text-to-video]}}]"
    command = ["--config", str(write_config(f"steps: {count // per_pack}")), "--device", "cpu", "--quiet",
               "--set", sets, "--set", "data.sizes=[[32, 32]]", "--set", f"data.max_samples_per_pack={per_pack}",
               "--set", "data.token_budget=100000"]  # fmt: skip
    assert run(main, command) == 0
    assert f"{count // per_pack} of {count // per_pack} steps" in capsys.readouterr().out
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    steps = [row for row in rows if row["event"] == "step"]
    assert sum(row["samples"] for row in steps) == count
    assert steps[-1]["bad_samples"] == 1
    (bad,) = [row for row in rows if row["event"] == "bad_sample"]
    assert bad["set"] == "clips"
    assert "0417.mp4" in bad["reason"]


def test_the_plan_is_shown_without_training(config_file, tmp_path, capsys):
    assert run(main, ["--config", str(config_file), "--dry-run", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    for part in ("micro in", "step 0 of 2 on cpu", "random weights", "2 blocks, 32 wide", "world: 9 samples, 100.0%",
                 "at most 500 a pack", "memory", "disk", "validation  none"):  # fmt: skip
        assert part in out
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("has", "verdict"), [(2**50, "fits"), (2**20, "DOES NOT FIT")])
def test_the_plan_says_whether_the_memory_is_enough(config_file, capsys, monkeypatch, has, verdict):
    monkeypatch.setattr("loom_core.training.estimate.memory_of", lambda _: has)
    assert run(main, ["--config", str(config_file), "--dry-run", "--device", "cpu"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("memory")]
    assert line.endswith(f": {verdict}")


def test_the_plan_tells_what_an_optimiser_on_the_cpu_needs_there(config_file, monkeypatch):
    monkeypatch.setattr("loom_core.training.estimate.memory_of", lambda device: 2**50 if device.type == "cpu" else 0)
    config = to_config(build_parser().parse_args(["--config", str(config_file), "--set", "optimiser.device=cpu"]))
    lines = describe(plan_run(config), device=torch.device("cuda"))
    on_gpu, on_cpu = next(lines[index : index + 2] for index, line in enumerate(lines) if line.startswith("memory"))
    assert "moments" not in on_gpu and on_gpu.endswith("DOES NOT FIT")
    assert "optimiser on the CPU" in on_cpu and "moments" in on_cpu and on_cpu.endswith("fits")


@pytest.mark.parametrize("dry_run", [["--dry-run"], []])
def test_a_disk_without_room_for_the_first_checkpoints_is_refused(config_file, tmp_path, capsys, monkeypatch, dry_run):
    monkeypatch.setattr("loom_core.training.disk._free", lambda _: (1_000, 1))
    assert run(main, ["--config", str(config_file), "--device", "cpu", *dry_run]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: found 1 kB free on the disk of the run's folder")
    assert captured.err.count("\n") == 1
    assert ("1 kB free: DOES NOT FIT" in captured.out) == bool(dry_run)
    assert not (tmp_path / "run").exists()


def test_needs_and_what_is_free_are_told_at_the_start(config_file, capsys):
    assert run(main, ["--config", str(config_file), "--device", "cpu", "--steps", "1"]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("disk: ")]
    assert re.fullmatch(r"disk: .*B a checkpoint, room for 1 more at once: .*B; .*B free: fits", line)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--config", "nowhere.yaml"], 2, "nowhere.yaml, which cannot be read"),
        ([], 2, "the following arguments are required: --config"),
        (["--set", "optimiser.warm_up=1"], 2, "did you mean 'warmup'"),
        (["--set", "starts_from=runs/stage1"], 3, "train the stage before"),
        (["--set", "mllm=nowhere"], 3, "no file or folder nowhere"),
        (["--steps", "0"], 2, "steps 0"),
        (["--threads", "0"], 2, "0 threads"),
        (["--device", "tpu"], 2, "device 'tpu'"),
        (["--resume", "nowhere"], 3, "no checkpoint at nowhere"),
    ],
)
def test_what_is_wrong_is_one_line_and_a_code(config_file, capsys, arguments, code, message):
    given = arguments if not arguments or arguments[0] == "--config" else ["--config", str(config_file), *arguments]
    assert run(main, given) == code
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1


def test_arguments_go_over_the_config(config_file, tmp_path):
    arguments = ["--config", str(config_file), "--run", str(tmp_path / "b"), "--steps", "9", "--set", "seed=4"]
    config = to_config(build_parser().parse_args(arguments))
    assert (config.run, config.steps, config.seed) == (tmp_path / "b", 9, 4)


def test_a_run_folder_that_cannot_be_made_is_one_line(config_file, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    assert run(main, ["--config", str(config_file), "--device", "cpu", "--run", str(tmp_path / "file")]) == 4
    assert "which cannot be created" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


def together(config_file, processes, *arguments, of_second=()):
    """Two processes of one run, as torchrun starts them."""
    port = processes.free_port()
    command = [sys.executable, "-m", "loom_core.cli.train", "--config", str(config_file), "--device", "cpu", *arguments]
    return [
        subprocess.Popen(
            [*command, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **processes.environment_of(rank, 2, port)},
        )
        for rank, more in enumerate([(), of_second])
    ]  # fmt: skip


def test_torchrun_trains_and_a_single_process_goes_on_with_the_same_command(config_file, processes, tmp_path, capsys):
    # with a small eps an update is the sign of a gradient, however near to zero that is
    arguments = ["--config", str(config_file), "--device", "cpu", "--steps", "4", "--set", "optimiser.eps=1e-3"]
    launcher = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1",
        "--master-port", str(processes.free_port()), "-m", "loom_core.cli.train",
    ]  # fmt: skip
    done = subprocess.run(
        [*launcher, *arguments, "--steps", "2"], capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [f"{tmp_path / 'run'}:", "2", "of", "2", "steps"], "the first one says so"
    state = read_state(newest_checkpoint(tmp_path / "run"))
    assert state.step == 2
    assert state.samples == 8, "two packs of two samples a step"
    assert sorted(state.data) == ["0", "1"]
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["samples"] for row in rows if row["event"] == "step"] == [4, 4]
    alone = [*arguments, "--steps", "2", "--run", str(tmp_path / "alone"), "--set", "grad_accumulation=2"]
    assert run(main, alone) == 0
    expected = load_file(newest_checkpoint(tmp_path / "alone") / "model.safetensors")
    found = load_file(newest_checkpoint(tmp_path / "run") / "model.safetensors")
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    capsys.readouterr()
    assert run(main, arguments) == 0
    assert "4 of 4 steps" in capsys.readouterr().out
    state = read_state(newest_checkpoint(tmp_path / "run"))
    assert (state.step, state.samples) == (4, 12)
    assert state.data["0"]["next"] == 12, "no sample was left out or came twice"


@pytest.mark.skipif(shutil.which("bash") is None, reason="launch files are for bash")
def test_two_machines_share_a_run_by_the_same_command_on_each(config_file, processes, repo_root, tmp_path):
    environment = {
        **os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1", "GPUS": "1", "NODES": "2",
        "HOST": f"127.0.0.1:{processes.free_port()}",
    }  # fmt: skip
    command = ["bash", "configs/launch/torchrun.sh", "--config", str(config_file), "--device", "cpu", "--steps", "1"]
    machines = [
        subprocess.Popen(command, cwd=repo_root, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = [machine.communicate(timeout=240)[1] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], "\n".join(said)
    state = read_state(newest_checkpoint(tmp_path / "run"))
    assert (state.step, sorted(state.data)) == (1, ["0", "1"])


def test_ranks_with_different_configs_are_refused_by_name(config_file, processes, tmp_path):
    running = together(config_file, processes, of_second=["--set", "optimiser.lr=0.002", "--set", "data.workers=1"])
    said = [process.communicate(timeout=240)[1] for process in running]
    assert [process.returncode for process in running] == [2, 2], "\n".join(said)
    for words in said:
        assert "rank 1 with other settings than rank 0: optimiser.lr is 0.002 there and 0.001 on rank 0" in words
        assert "workers" not in words
        assert words.count("error:") == 1
    assert not (tmp_path / "run").exists()


def test_muon_is_not_shared_by_several_processes(config_file, processes, capsys, monkeypatch, tmp_path):
    for name, value in processes.environment_of(1, 2, 1).items():
        monkeypatch.setenv(name, value)
    assert run(main, ["--config", str(config_file), "--device", "cpu", "--set", "optimiser.kind=muon"]) == 2
    told = capsys.readouterr().err
    assert "muon in several processes, each of which has only rows of a matrix" in told
    assert "without torchrun" in told
    assert not (tmp_path / "run").exists()


def test_a_killed_rank_stops_the_others_with_a_sentence_and_leaves_whole_checkpoints(config_file, processes, tmp_path):
    arguments = ["--steps", "100000", "--quiet", "--set", "checkpoint.every=1"]
    first, second = running = together(config_file, processes, *arguments)
    try:
        deadline = time.monotonic() + 240
        while newest_checkpoint(tmp_path / "run") is None:
            assert time.monotonic() < deadline
            assert first.poll() is None, first.communicate()[1]
            time.sleep(0.1)
        second.kill()
        killed = time.monotonic()
        _, said = first.communicate(timeout=90)
        assert time.monotonic() - killed < 60
    finally:
        for process in running:
            process.kill()
            process.communicate()
    assert first.returncode == 8
    assert "error: found rank 1" in said
    assert "give the same command again" in said
    assert "Traceback" not in said
    folder = newest_checkpoint(tmp_path / "run")
    last = read_state(folder).step
    assert run(main, ["--config", str(config_file), "--device", "cpu", "--quiet", "--steps", str(last + 1)]) == 0
    assert read_state(newest_checkpoint(tmp_path / "run")).step == last + 1
