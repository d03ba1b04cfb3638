from __future__ import annotations

import io
import sys

import pytest
import torch
from PIL import Image

from loom_core.errors import MissingExtraError
from loom_core.training.watch.metrics_file import read_events, read_history
from loom_core.training.watch.observer import RunAbout, SampleRow, StepMetrics, ValidationLoss, ValidationMetrics
from loom_core.training.watch.run_folder import watch_run


def tell(observers, folder, *, first_step=0):
    observers.on_start(RunAbout(name="stage1", folder=folder, steps=4, first_step=first_step))
    for number in range(first_step + 1, 5):
        observers.on_step(
            StepMetrics(step=number, steps=4, loss=0.5, grad_norm=1.0, lr=1e-4, tokens=64, samples=1, seconds=0.1)
        )
    losses = (ValidationLoss(task="a", noise="low", loss=0.5, count=1),)
    observers.on_validation(ValidationMetrics(step=4, losses=losses))
    picture = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
    observers.on_samples(4, [SampleRow(caption="a circle", result=picture)])
    observers.on_checkpoint(4, folder / "step-000004")


def test_a_run_leaves_metrics_curve_and_samples(tmp_path):
    stream = io.StringIO()
    observers = watch_run(tmp_path, stream=stream, log_every=2)
    tell(observers, tmp_path)
    observers.close()
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")) == [
        "curve.png", "metrics.jsonl", "samples/step-000004.png",
    ]  # fmt: skip
    assert [step.step for step in read_history(tmp_path / "metrics.jsonl").steps] == [1, 2, 3, 4]
    assert [line.split("  ")[0] for line in stream.getvalue().splitlines()[1:3]] == ["step 2/4", "step 4/4"]
    for name in ("curve.png", "samples/step-000004.png"):
        with Image.open(tmp_path / name) as picture:
            picture.load()


def test_a_run_goes_on_without_a_folder_to_write_to(tmp_path):
    """As on a disk that went away: what writes there is switched off, each with one note; the rest goes on."""
    folder = tmp_path / "run"
    stream = io.StringIO()
    observers = watch_run(folder, stream=stream, log_every=1)
    (tmp_path / "run").write_text("a file where a folder should be")
    tell(observers, folder)
    observers.close()
    text = stream.getvalue()
    for name in ("MetricsFile", "SampleGrids", "CurvePicture"):
        assert text.count(f"{name} is switched off") == 1
    assert "step 4/4" in text


def test_a_closed_terminal_does_not_stop_the_metrics(tmp_path):
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError("the terminal is gone")

    observers = watch_run(tmp_path, stream=Gone())
    tell(observers, tmp_path)
    observers.close()
    events = list(read_events(tmp_path / "metrics.jsonl"))
    assert [event["step"] for event in events if event["event"] == "step"] == [1, 2, 3, 4]
    assert [event["text"] for event in events if event["event"] == "note"] == [
        "TerminalObserver is switched off, the training goes on: BrokenPipeError: the terminal is gone"
    ]


def test_tensorboard_is_told_of_before_the_run_when_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    for name in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingExtraError, match="pip install tensorboard"):
        watch_run(tmp_path, tensorboard=True)
    watch_run(tmp_path).close()
