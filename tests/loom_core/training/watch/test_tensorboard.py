from __future__ import annotations

import math

import pytest
import torch

from loom_core.training.watch.observer import RunAbout, SampleRow, StepMetrics, ValidationLoss, ValidationMetrics
from loom_core.training.watch.tensorboard import TensorBoardObserver

pytest.importorskip("tensorboard", reason="the optional extra")


def read(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return found


def step(number, loss):
    return StepMetrics(
        step=number,
        steps=9,
        loss=loss,
        grad_norm=2.0,
        lr=1e-4,
        tokens=100,
        samples=3,
        seconds=0.5,
        bad_samples=4,
        loss_by_task={"edit-video": loss / 2},
    )


def scalars(found, name):
    return [(event.step, event.value) for event in found.Scalars(name)]


def test_what_is_told_can_be_read_by_tensorboard(tmp_path):
    observer = TensorBoardObserver(tmp_path)
    observer.on_start(RunAbout(name="stage1", folder=tmp_path, steps=9, settings={"lr": "1e-4"}))
    observer.on_step(step(1, 0.5))
    observer.on_step(step(2, math.nan))
    losses = (
        ValidationLoss(task="edit-video", noise="low", loss=1.0, count=1),
        ValidationLoss(task="edit-video", noise="high", loss=3.0, count=1),
    )
    observer.on_validation(ValidationMetrics(step=2, losses=losses, weights="ema"))
    pictures = torch.zeros(9, 32, 32, 3, dtype=torch.uint8)
    observer.on_samples(2, [SampleRow(caption="a", result=pictures)])
    observer.on_samples(2, [])
    observer.on_note("hello")
    observer.close()
    found = read(tmp_path)
    (first, second) = scalars(found, "train/loss")
    assert first == (1, 0.5)
    assert math.isnan(second[1])
    assert scalars(found, "train_by_task/edit-video")[0] == (1, 0.25)
    assert scalars(found, "speed/tokens_per_second")[0] == (1, 200.0)
    assert scalars(found, "speed/samples_per_second")[0] == (1, 6.0)
    assert scalars(found, "trouble/bad_samples")[0] == (1, 4.0)
    assert scalars(found, "validation_ema/loss") == [(2, 2.0)]
    assert scalars(found, "validation_ema/noise_high") == [(2, 3.0)]
    assert scalars(found, "validation_ema_by_task/edit-video/low") == [(2, 1.0)]
    assert len(found.Images("samples")) == 1
    assert any("notes" in tag for tag in found.Tags()["tensors"])


def test_a_resumed_run_hides_what_comes_again(tmp_path):
    for first_step, numbers, loss in ((0, range(1, 6), 1.0), (3, range(4, 6), 2.0)):
        observer = TensorBoardObserver(tmp_path)
        observer.on_start(RunAbout(name="stage1", folder=tmp_path, steps=9, first_step=first_step))
        for number in numbers:
            observer.on_step(step(number, loss))
        observer.close()
    assert scalars(read(tmp_path), "train/loss") == [(1, 1.0), (2, 1.0), (3, 1.0), (4, 2.0), (5, 2.0)]
