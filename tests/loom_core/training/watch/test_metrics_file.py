from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from loom_core.data.problems import BadSample
from loom_core.training.watch.metrics_file import MetricsFile, drop_later, is_measured, read_events, read_history
from loom_core.training.watch.observer import (
    Observers,
    RunAbout,
    SilentObserver,
    StepMetrics,
    ValidationLoss,
    ValidationMetrics,
)

ROOT = Path(__file__).resolve().parents[4]


def step(number, loss=0.5, **changes):
    fields = {
        "step": number, "steps": 10, "loss": loss, "grad_norm": 1.0, "lr": 1e-4, "tokens": 64, "samples": 2,
        "seconds": 0.25,
    }  # fmt: skip
    return StepMetrics(**fields | changes)


def validation(number, loss):
    cells = (ValidationLoss(task="edit-video", noise="low", loss=loss, count=4),)
    return ValidationMetrics(step=number, losses=cells, weights="ema", seconds=1.5)


def about(tmp_path, first_step=0):
    return RunAbout(name="stage1", folder=tmp_path, steps=10, first_step=first_step, settings={"lr": "1e-4"})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics.jsonl"


def test_what_is_written_is_read_back(path, tmp_path):
    file = MetricsFile(path)
    file.on_start(about(tmp_path))
    steps = (step(1, loss_by_task={"edit-video": 0.25}), step(2, bad_samples=3, skipped_steps=1))
    for metrics in steps:
        file.on_step(metrics)
    file.on_validation(validation(2, 0.75))
    file.on_checkpoint(2, tmp_path / "step-000002")
    file.on_note("ünïcode\nand a second line")
    # not closed: every line is there at once
    history = read_history(path)
    assert history.name == "stage1"
    assert history.steps == steps
    assert history.validations == (validation(2, 0.75),)
    events = list(read_events(path))
    assert [event["event"] for event in events] == ["start", "step", "step", "validation", "checkpoint", "note"]
    assert events[-1]["text"] == "ünïcode\nand a second line"
    assert events[-1]["step"] == 2
    assert events[-2]["path"] == "step-000002"
    assert events[3]["loss"] == 0.75
    file.close()


def test_numbers_that_are_not_finite_stay_json(path, tmp_path):
    file = MetricsFile(path)
    measures = {"reward": 0.5, "kl": math.inf}
    file.on_step(step(1, loss=math.nan, grad_norm=math.inf, loss_by_task={"edit-video": math.nan}, measures=measures))
    file.close()

    def refuse(constant):
        raise AssertionError(constant)

    assert json.loads(path.read_text(), parse_constant=refuse)["loss"] is None
    (read,) = read_history(path).steps
    assert math.isnan(read.loss)
    assert math.isnan(read.loss_by_task["edit-video"])
    assert read.measures["reward"] == 0.5
    assert math.isnan(read.measures["kl"])
    assert read.tokens == 64


def test_a_resumed_run_drops_what_comes_again(path, tmp_path):
    first = MetricsFile(path)
    first.on_start(about(tmp_path))
    for number in range(1, 6):
        first.on_step(step(number, loss=1.0))
    first.on_validation(validation(3, 1.0))
    first.on_validation(validation(5, 1.0))
    first.on_note("late")
    first.close()
    second = MetricsFile(path)
    second.on_start(about(tmp_path, first_step=3))
    second.on_step(step(4, loss=2.0))
    second.close()
    events = list(read_events(path))
    told = [(event["event"], event["step"]) for event in events]
    assert told == [
        ("start", 0), ("step", 1), ("step", 2), ("step", 3), ("validation", 3), ("start", 3), ("step", 4),
    ]  # fmt: skip
    assert [metrics.loss for metrics in read_history(path).steps] == [1.0, 1.0, 1.0, 2.0]


def test_a_sample_that_was_left_out_is_a_line_of_the_step_that_it_was_met_on(path, tmp_path):
    """So that a run that goes on before that step, and meets it again, tells of it once."""
    file = MetricsFile(path)
    file.on_start(about(tmp_path))
    file.on_step(step(1))
    samples = [BadSample("cats", f"{number}.mp4", "unreadable: found no stream") for number in (7, 9)]
    file.on_bad_samples(2, samples)
    lines = [{key: value for key, value in event.items() if key != "time"} for event in read_events(path)][2:]
    expected = {"event": "bad_sample", "step": 2, "set": "cats", "reason": "unreadable: found no stream"}
    assert lines == [expected | {"sample": "7.mp4"}, expected | {"sample": "9.mp4"}]
    assert len(read_history(path).steps) == 1
    file.on_start(about(tmp_path, first_step=1))
    assert [event["event"] for event in read_events(path)] == ["start", "step", "start"]


def test_a_line_torn_by_a_kill_is_passed_over_and_goes_at_the_next_start(path, tmp_path):
    file = MetricsFile(path)
    file.on_step(step(1))
    file.close()
    whole = path.read_bytes()
    for cut in range(1, len(whole)):
        path.write_bytes(whole + whole.replace(b'"step": 1', b'"step": 2')[:cut])
        assert [metrics.step for metrics in read_history(path).steps] == [1]
    again = MetricsFile(path)
    again.on_start(about(tmp_path, first_step=1))
    again.on_step(step(2))
    again.close()
    assert [event["event"] for event in read_events(path)] == ["step", "start", "step"]
    assert all(json.loads(line) for line in path.read_bytes().splitlines())


def test_nothing_is_lost_when_the_process_is_killed(path):
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from loom_core.training.watch.metrics_file import MetricsFile\n"
        "from loom_core.training.watch.observer import StepMetrics\n"
        "file = MetricsFile(Path(sys.argv[1]))\n"
        "for n in range(1, 4):\n"
        "    rest = dict(steps=9, loss=1.0, grad_norm=1.0, lr=1.0, tokens=1, samples=1, seconds=1.0)\n"
        "    file.on_step(StepMetrics(step=n, **rest))\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout.readline() == b"ready\n"
        running.kill()
    assert [metrics.step for metrics in read_history(path).steps] == [1, 2, 3]


def test_foreign_lines_are_passed_over(path):
    path.write_bytes(b'[]\n{"a": 1}\n\xff\xfe\n\n{"event": "step", "step": "x"}\n')
    assert list(read_events(path)) == []
    assert read_history(path).steps == ()
    drop_later(path, 5)
    assert path.read_bytes() == b""


def test_no_file_yet_is_an_empty_history(path):
    assert read_history(path).steps == ()


def test_a_step_is_measured_once_its_losses_are_there(path, tmp_path):
    assert not is_measured(path, 2)
    file = MetricsFile(path)
    file.on_step(step(2))
    assert not is_measured(path, 2)
    file.on_validation(validation(2, 0.75))
    assert is_measured(path, 2)
    assert not is_measured(path, 1)


def test_a_step_told_twice_counts_once(path):
    """Of a file that two runs wrote to."""
    file = MetricsFile(path)
    file.on_step(step(1, loss=1.0))
    file.on_step(step(1, loss=2.0))
    file.close()
    assert [metrics.loss for metrics in read_history(path).steps] == [2.0]


def test_a_full_disk_switches_the_file_off_and_nothing_else(tmp_path):
    """Linux has a device that is always full; elsewhere a folder in the file's place refuses as well."""
    full = Path("/dev/full")
    notes = []

    class Notes(SilentObserver):
        def on_note(self, text):
            notes.append(text)

    observers = Observers(MetricsFile(full if full.exists() else tmp_path), Notes())
    observers.on_step(step(1))
    observers.on_step(step(2))
    assert len(notes) == 1
    assert "MetricsFile is switched off" in notes[0]
