"""loom-tiny's training from nothing, a few steps of every part; what a user runs as `make train-tiny SMOKE=1`."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from shutil import copyfile

import pytest
import torch

from loom_core.bundle import BUILT_IN, find_model
from loom_core.errors import ConfigError, ResourceError
from loom_core.training.watch.metrics_file import METRICS_FILE, MetricsFile
from loom_core.training.watch.observer import ValidationLoss, ValidationMetrics
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


@pytest.fixture(scope="module")
def script(repo_root, load_script):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(repo_root / "scripts"))  # it takes over what other scripts do by default
        yield load_script("train_tiny")


@pytest.fixture
def workshop(script, tmp_path):
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


def find_files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_disk_that_fills_while_it_ships_leaves_the_old_model_whole(script, workshop, tmp_path, monkeypatch):
    shutil.copytree(BUILT_IN / "mllm", workshop.mllm)
    shutil.copyfile(BUILT_IN / "codec.safetensors", workshop.codec)
    shutil.copyfile(BUILT_IN / "dit.safetensors", tmp_path / "ema.safetensors")
    monkeypatch.setattr(script, "last_checkpoint", lambda _: tmp_path)  # as if the stages were finished
    monkeypatch.setattr(script, "is_finished", lambda *_: True)
    monkeypatch.setattr(script, "training_record", lambda _: {})
    new, model = {path.relative_to(BUILT_IN) for path in find_files(BUILT_IN)}, tmp_path / "model"
    (model / "mllm").mkdir(parents=True)
    for name in new:
        (model / name).write_bytes(b"old")
    room = iter(range(3))  # for the codec and two files of the MLLM

    def copy_while_there_is_room(source, target):
        if next(room, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        return copyfile(source, target)

    monkeypatch.setattr(shutil, "copyfile", copy_while_there_is_room)
    with pytest.raises(ResourceError, match="no space left while writing"):
        script.ship(workshop, model)
    assert {path.relative_to(model): path.read_bytes() for path in find_files(model)} == dict.fromkeys(new, b"old")
    monkeypatch.setattr(shutil, "copyfile", copyfile)
    script.ship(workshop, model)
    assert {path.relative_to(model) for path in find_files(model)} == new
    for name in new - {Path("dit.safetensors")}:
        assert (model / name).read_bytes() == (BUILT_IN / name).read_bytes()
    assert find_model(model).check() == find_model().check()


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ((0.5, 0.9, 0.4), None),
        ((0.5, 0.4, 0.6), "of stage1 did not fall: 0.5000 at first, 0.6000 at last"),
        ((0.5, 0.5), "did not fall"),
    ],
)
def test_a_held_out_loss_that_does_not_fall_is_refused(script, workshop, losses, said):
    run = workshop.run_folder("stage1")
    run.mkdir()
    metrics = MetricsFile(run / METRICS_FILE)
    for index, loss in enumerate(losses):
        cell = ValidationLoss(task="edit-image", noise="low", loss=loss, count=6)
        metrics.on_validation(ValidationMetrics(step=6 * index, losses=(cell,)))
    metrics.close()
    if said is None:
        script.check_losses_fall(run)
    else:
        with pytest.raises(SystemExit, match=said):
            script.check_losses_fall(run)


STAGE = """
import json, sys, time
from pathlib import Path

def tell(events):
    with metrics.open("a") as file:
        file.writelines(json.dumps(event) + "\\n" for event in events)

def steps(first, last):
    return [{"event": "step", "step": step, "loss": 1 / step} for step in range(first, last + 1)]

metrics, kind = Path(sys.argv[1]), sys.argv[2]
metrics.parent.mkdir(exist_ok=True)
if kind == "too quick":
    tell([{"event": "start", "step": 0}, *steps(1, 8)])
elif not metrics.exists():
    tell([{"event": "start", "step": 0}, *steps(1, 4)])
    time.sleep(600)  # until it is killed
elif kind == "restarted":
    metrics.unlink()
    tell([{"event": "start", "step": 0}, {"event": "start", "step": 0}, *steps(1, 8)])
elif kind == "lost":
    metrics.unlink()
    tell([{"event": "start", "step": 4}, *steps(1, 8)])
else:
    others = [{"event": "step", "step": 8, "loss": 0.2}] if kind == "other loss" else steps(8, 8)
    tell([{"event": "start", "step": 4}, *steps(5, 7), *([] if kind == "ends early" else others)])
"""
"""A stage's metrics without its training: eight steps, killed after the fourth."""


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("as if whole", None),
        ("other loss", "the losses of the continued run differ"),
        ("ends early", "the losses of the continued run differ"),
        ("restarted", r"the run began anew instead of going on: it started at steps \[0, 0\]"),
        ("lost", r"the run began anew instead of going on: it started at steps \[4\]"),
        ("too quick", "the run ended before it could be killed"),
    ],
)
def test_a_run_that_does_not_continue_as_it_should_is_refused(script, tmp_path, kind, said):
    class Rehearsal(script.Workshop):
        def stage_command(self, stage, run):
            return ["-c", STAGE, str(run / METRICS_FILE), kind]

    workshop = Rehearsal(tmp_path, script.SMOKE, threads=1)
    whole = workshop.run_folder("stage1")
    whole.mkdir()
    events = [{"event": "step", "step": step, "loss": 1 / step} for step in range(1, 9)]
    (whole / METRICS_FILE).write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
    if said is None:
        script.check_resume(workshop, after=4)
    else:
        with pytest.raises(SystemExit, match=said):
            script.check_resume(workshop, after=4)


@pytest.mark.usefixtures("script")
@pytest.mark.parametrize(
    ("name", "deed"), [("fit_tiny_codec", "material"), ("make_tiny_mllm", "write"), ("train_tiny_mllm", "write")]
)
def test_no_part_is_written_where_nobody_said(load_script, monkeypatch, capsys, name, deed):
    part = load_script(name)
    monkeypatch.setattr(part, deed, lambda *_: pytest.fail("begun"))
    monkeypatch.setattr("sys.argv", [name])
    with pytest.raises(SystemExit) as ended:
        part.main()
    assert ended.value.code == 2
    assert "the following arguments are required: --output" in capsys.readouterr().err


def test_a_smoke_run_is_not_shipped(script, capsys, monkeypatch):
    monkeypatch.setattr(script, "train_all", lambda _: pytest.fail("begun"))
    with pytest.raises(SystemExit) as ended:
        script.main(["--smoke", "--ship"])
    assert ended.value.code == 2
    assert "must not replace the built-in model: leave out --ship" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "folder"),
    [([], "runs/tiny"), (["--smoke"], "build/tiny-smoke"), (["--smoke", "--work", "mine"], "mine")],
)
def test_a_smoke_run_has_a_folder_of_its_own(script, tmp_path, monkeypatch, arguments, folder):
    class Begun(BaseException):
        """Where the work would begin."""

    def train_all(workshop):
        raise Begun(workshop.folder)

    monkeypatch.setattr(script, "train_all", train_all)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Begun) as begun:
        script.main(arguments)
    assert begun.value.args == ((tmp_path / folder).resolve(),)


@pytest.mark.parametrize("file", ["codec.safetensors", "mllm.state", "mllm"])
def test_parts_made_from_something_else_are_refused(script, workshop, monkeypatch, file):
    part = file.split(".")[0]
    number = {"codec": "clips", "mllm": "steps"}[part]
    (workshop.folder / file).touch()
    with pytest.raises(ConfigError, match=rf"found the {part} .*nothing that is noted.*to fix: delete {file} in"):
        script.train_all(workshop)  # refused before anything is made
    (workshop.folder / file).unlink()
    workshop.claim(part, **{number: 7})
    (workshop.folder / file).touch()
    workshop.claim(part, **{number: 7})  # the same goes on
    with pytest.raises(ConfigError, match=rf'"{number}": 7.*expected.*"{number}": 8.*to fix: delete .*{file}.*--work'):
        workshop.claim(part, **{number: 8})
    monkeypatch.setattr(script, "WORLD_VERSION", -1)
    with pytest.raises(ConfigError, match=r'expected from .*"world_version": -1'):
        workshop.claim(part, **{number: 7})
    (workshop.folder / file).unlink()
    workshop.claim(part, **{number: 8})  # without it there is nothing to refuse
