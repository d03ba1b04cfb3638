from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from loom_core.errors import CancelledError
from loom_core.training.watch.observer import (
    Observers,
    RunAbout,
    SilentObserver,
    StepMetrics,
    ValidationLoss,
    ValidationMetrics,
)

STEP = StepMetrics(step=1, steps=2, loss=0.5, grad_norm=1.0, lr=1e-4, tokens=64, samples=1, seconds=0.1)


class Recorder(SilentObserver):
    def __init__(self):
        self.steps, self.notes, self.closed = [], [], 0

    def on_step(self, metrics):
        self.steps.append(metrics.step)

    def on_note(self, text):
        self.notes.append(text)

    def close(self):
        self.closed += 1


class Failing(Recorder):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def on_step(self, metrics):
        super().on_step(metrics)
        raise self.error


class FailingNotes(Recorder):
    def on_note(self, text):
        raise BrokenPipeError("gone")


def test_every_event_reaches_every_observer_in_order():
    calls = []

    class Named:
        def __init__(self, name):
            self.name = name

        def __getattr__(self, event):
            return lambda *args: calls.append((self.name, event, args))

    both = Observers(Named("a"), Named("b"))
    about = RunAbout(name="stage1", folder=Path("run"), steps=2)
    validation = ValidationMetrics(step=1, losses=())
    both.on_start(about)
    both.on_step(STEP)
    both.on_validation(validation)
    both.on_samples(1, ())
    both.on_checkpoint(1, Path("step-1"))
    both.on_bad_samples(2, ())
    both.on_note("hello")
    both.close()
    events = [
        ("on_start", (about,)),
        ("on_step", (STEP,)),
        ("on_validation", (validation,)),
        ("on_samples", (1, ())),
        ("on_checkpoint", (1, Path("step-1"))),
        ("on_bad_samples", (2, ())),
        ("on_note", ("hello",)),
        ("close", ()),
    ]
    assert calls == [(name, event, args) for event, args in events for name in "ab"]


def test_an_observer_that_fails_is_switched_off_with_one_note():
    bad, good = Failing(OSError(28, "No space left on device")), Recorder()
    both = Observers(bad, good)
    both.on_step(STEP)
    both.on_step(STEP)
    both.close()
    assert good.steps == [1, 1]
    assert bad.steps == [1]
    assert bad.closed == good.closed == 1
    assert len(good.notes) == 1
    assert "Failing" in good.notes[0]
    assert "No space left" in good.notes[0]


def test_all_may_fail_at_once():
    both = Observers(Failing(ValueError("x")), FailingNotes(), FailingNotes(), last := Recorder())
    both.on_step(STEP)
    both.on_step(STEP)
    assert last.steps == [1, 1]
    assert sum("FailingNotes" in note for note in last.notes) == 2
    assert len(last.notes) == 3


def test_a_person_can_still_stop_the_run():
    both = Observers(Failing(CancelledError("a stop")))
    with pytest.raises(CancelledError):
        both.on_step(STEP)
    with pytest.raises(KeyboardInterrupt):
        Observers(Failing(KeyboardInterrupt())).on_step(STEP)


def test_a_step_is_judged_by_its_reward_where_it_has_one():
    assert STEP.headline == ("loss", 0.5)
    assert replace(STEP, measures={"reward": 0.7, "kl": 0.1}).headline == ("reward", 0.7)


def test_validation_means_go_by_count():
    losses = (
        ValidationLoss(task="edit-video", noise="low", loss=1.0, count=3),
        ValidationLoss(task="edit-video", noise="high", loss=4.0, count=3),
        ValidationLoss(task="text-to-video", noise="low", loss=5.0, count=1),
    )
    metrics = ValidationMetrics(step=3, losses=losses)
    assert metrics.by_noise() == {"low": 2.0, "high": 4.0}
    assert metrics.by_task() == {"edit-video": 2.5, "text-to-video": 5.0}
    assert metrics.loss == pytest.approx(20 / 7)
    assert math.isnan(ValidationMetrics(step=1, losses=()).loss)
