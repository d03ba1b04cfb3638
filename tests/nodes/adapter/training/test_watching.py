"""What a run shows on its node, and how a cancel reaches the trainer."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def observer(stand_in):
    return stand_in("loom_core.training.watch.observer")


@pytest.fixture
def watch(stand_in, host, progress, tmp_path):
    clock = [0.0]
    made = stand_in("nodes.adapter.training.watching").NodeWatch(tmp_path, progress, clock=lambda: clock[0])
    made.now = clock
    return made


def step(observer, number, steps=4):
    return observer.StepMetrics(
        step=number, steps=steps, loss=0.5, grad_norm=1.0, lr=1e-3, tokens=10, samples=1, seconds=1.0
    )


def start(observer, tmp_path, first_step=0):
    return observer.RunAbout(name="run", folder=tmp_path, steps=4, first_step=first_step)


def test_steps_move_the_bar_and_draw_sparingly(watch, observer, progress, tmp_path):
    watch.on_start(start(observer, tmp_path))
    for number in (1, 2, 3):
        watch.now[0] += 0.5
        watch.on_step(step(observer, number))
    assert progress.steps == [1, 2, 3]
    assert len(progress.pictures) == 1
    watch.on_step(step(observer, 4))  # the last one is always drawn
    assert len(progress.pictures) == 2
    assert progress.texts[-1].startswith("step 4 of 4, loss 0.5000")


def test_samples_are_shown_below_the_curve_at_once(watch, observer, progress, tmp_path):
    watch.on_start(start(observer, tmp_path))
    watch.on_step(step(observer, 1))
    rows = [observer.SampleRow(caption="one", result=torch.zeros(1, 64, 64, 3, dtype=torch.uint8))]
    watch.on_samples(1, rows)
    assert progress.pictures[1].height > progress.pictures[0].height


def test_a_run_that_goes_on_shows_what_was_before(watch, observer, stand_in, tmp_path):
    files = stand_in("loom_core.training.watch.run_folder").watch_run(tmp_path)
    files.on_start(start(observer, tmp_path))
    files.on_step(step(observer, 1))
    files.on_samples(1, [observer.SampleRow(caption="one", result=torch.zeros(1, 64, 64, 3, dtype=torch.uint8))])
    files.close()
    alone = watch.picture()
    watch.on_start(start(observer, tmp_path, first_step=1))
    assert watch.picture().height > alone.height


def test_a_damaged_picture_of_samples_is_passed_over(watch, observer, tmp_path):
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "step-000001.png").write_bytes(b"no picture")
    watch.on_start(start(observer, tmp_path))
    assert watch.picture().size[0] > 0


def test_a_cancel_inside_a_step_is_left_to_the_trainer(watch, observer, host, tmp_path):
    """The host takes its wish back once it has raised; it must not get lost on the way."""
    watch.on_start(start(observer, tmp_path))
    assert not watch.is_cancelled()
    host.is_cancelled = True
    watch.on_step(step(observer, 1))
    assert not host.is_cancelled
    assert watch.is_cancelled()
    with pytest.raises(host.InterruptProcessingException):
        watch.raise_if_cancelled()
