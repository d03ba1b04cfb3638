from __future__ import annotations

import io
from pathlib import Path

import pytest

from loom_core.training.watch.observer import RunAbout, StepMetrics, ValidationLoss, ValidationMetrics
from loom_core.training.watch.terminal import TerminalObserver, duration


class Stream(io.StringIO):
    def __init__(self, *, is_terminal, encoding="utf-8"):
        super().__init__()
        self.is_terminal, self.told = is_terminal, encoding

    @property
    def encoding(self):
        return self.told

    def isatty(self):
        return self.is_terminal


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def screen(text):
    """What stays to be seen on a terminal: a carriage return goes back to the line's start, to be written over."""
    lines = []
    for line in text.split("\n"):
        shown = ""
        for part in line.split("\r"):
            shown = part + shown[len(part) :]
        lines.append(shown.rstrip())
    return lines


def step(number, *, steps=10, **changes):
    fields = {
        "step": number, "steps": steps, "loss": 0.5, "grad_norm": 1.25, "lr": 2e-5, "tokens": 1000, "samples": 4,
        "seconds": 2.0,
    }  # fmt: skip
    return StepMetrics(**fields | changes)


def train(observer, clock, numbers, *, between=0.0, **changes):
    for number in numbers:
        clock.now += 2.0 + between
        observer.on_step(step(number, **changes))


@pytest.fixture
def clock():
    return Clock()


def observed(stream, clock, *, columns=200, **options):
    observer = TerminalObserver(stream, clock=clock, columns=lambda: columns, **options)
    observer.on_start(RunAbout(name="stage1", folder=Path("run"), steps=10, settings={"data": "60 samples"}))
    return observer


def test_a_terminal_has_one_line_that_moves(clock):
    stream = Stream(is_terminal=True)
    observer = observed(stream, clock)
    train(observer, clock, range(1, 6))
    observer.close()
    lines = screen(stream.getvalue())
    assert lines == [
        "stage1: to step 10, in run",
        "  data: 60 samples",
        "stage1 "
        + "█" * 10
        + "░" * 10
        + " 5/10  loss 0.5000  left 10s  500 tok/s  2 samples/s  lr 2.00e-05  grad 1.25  elapsed 10s",
        "",
    ]


def test_lines_go_above_the_moving_one(clock):
    stream = Stream(is_terminal=True)
    observer = observed(stream, clock)
    train(observer, clock, [1])
    cells = (
        ValidationLoss(task="a", noise="low", loss=0.25, count=1),
        ValidationLoss(task="a", noise="high", loss=0.75, count=1),
    )
    observer.on_validation(ValidationMetrics(step=1, losses=cells, weights="ema"))
    observer.on_checkpoint(1, Path("run/step-000001"))
    observer.on_note("two\nlines")
    train(observer, clock, [2])
    observer.close()
    lines = screen(stream.getvalue())
    assert lines[2:5] == [
        "step 1: validation loss 0.5000 of the ema weights  (low 0.2500  high 0.7500)",
        "step 1: checkpoint " + str(Path("run/step-000001")),
        "two lines",
    ]
    assert " 2/10 " in lines[5]
    assert len(lines) == 7


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (80, "stage1 ##-------- 2/10  loss 0.5000  left 16s  500 tok/s  2 samples/s"),
        (40, "stage1 2/10  loss 0.5000  left 16s"),
        (26, "stage1 2/10  loss 0.5000"),
        (8, "stage1"),
        (0, "s"),
    ],
)
def test_a_narrow_terminal_gets_what_matters_most_and_is_never_filled(clock, columns, line):
    stream = Stream(is_terminal=True, encoding="ascii")
    observer = observed(stream, clock, columns=columns)
    train(observer, clock, [1, 2])
    observer.close()
    assert screen(stream.getvalue())[2] == line
    assert len(line) < max(columns, 2)


def test_steps_faster_than_the_eye_are_not_all_drawn_but_the_last_is(clock):
    stream = Stream(is_terminal=True)
    observer = observed(stream, clock)
    for number in range(1, 11):
        clock.now += 0.03
        observer.on_step(step(number, seconds=0.03))
    observer.close()
    drawn = stream.getvalue().split("\r")[1:]
    assert len(drawn) == 4  # 1, 5, 9 and the last
    assert "10/10" in drawn[-1]


def test_a_stream_that_is_no_terminal_gets_plain_lines(clock):
    stream = Stream(is_terminal=False)
    observer = observed(stream, clock, log_every=4)
    train(observer, clock, range(1, 11), bad_samples=3, skipped_steps=1)
    observer.close()
    lines = stream.getvalue().splitlines()
    assert "\r" not in stream.getvalue()
    assert [line.split("  ")[0] for line in lines[2:]] == ["step 4/10", "step 8/10", "step 10/10"]
    assert "left 0s  3 bad samples  1 steps skipped  500 tok/s" in lines[-1]
    assert lines[-1].endswith("elapsed 20s")


def test_a_run_with_rewards_is_told_by_them(clock):
    stream = Stream(is_terminal=False)
    observer = TerminalObserver(stream, log_every=1, clock=clock)
    train(observer, clock, [1, 2], measures={"reward": 0.25})
    assert "step 2/10  reward 0.2500  left" in stream.getvalue()
    assert "loss" not in stream.getvalue()


def test_time_between_steps_counts_in_what_is_left(clock):
    """Validation and checkpoints come again: 5 steps of 2 seconds with 1 second between them leave 5 x 3 seconds."""
    stream = Stream(is_terminal=False)
    observer = observed(stream, clock, log_every=5)
    train(observer, clock, range(1, 6), between=1.0)
    assert "left 15s" in stream.getvalue()
    assert "elapsed 15s" in stream.getvalue()


def test_a_resumed_run_counts_its_own_steps_only(clock):
    stream = Stream(is_terminal=False)
    observer = TerminalObserver(stream, clock=clock, log_every=1)
    observer.on_start(RunAbout(name="stage1", folder=Path("run"), steps=10, first_step=8))
    train(observer, clock, [9])
    lines = stream.getvalue().splitlines()
    assert lines[0] == "stage1: from step 8 to step 10, in run"
    assert "left 2s" in lines[1]
    assert lines[1].endswith("elapsed 2s")


def test_a_stream_without_block_characters_gets_ascii(clock):
    stream = Stream(is_terminal=True, encoding="ascii")
    observer = observed(stream, clock)
    train(observer, clock, range(1, 3))
    observer.close()
    assert stream.getvalue().isascii()
    assert "####----------------" in stream.getvalue()


def test_big_speeds_are_told_in_thousands(clock):
    stream = Stream(is_terminal=False)
    observer = observed(stream, clock, log_every=1)
    train(observer, clock, [1], tokens=50_000, samples=1)
    assert "25.0k tok/s  0.5 samples/s" in stream.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.4, "59s"), (59.6, "1m00s"), (725, "12m05s"), (11220, "3h07m"), (187200, "2d04h"), (-3, "0s")],
)
def test_durations_are_read_at_a_glance(seconds, text):
    assert duration(seconds) == text
