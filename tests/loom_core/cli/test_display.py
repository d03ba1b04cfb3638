"""What a command shows while it runs."""

from __future__ import annotations

import torch

from loom_core.cli.display import Display, counter
from loom_core.protocols import StepReport


def report(step):
    return StepReport(
        step=step, num_steps=2, sigma=0.5, elapsed_seconds=3.0 * step, remaining_seconds=0, clean_latents=torch.zeros(1)
    )


def test_steps_and_lines_are_shown(capsys):
    display = Display(quiet=False)
    display.say("loading")
    for step in (1, 2):
        display.step(report(step))
    display.close()
    shown = capsys.readouterr().err
    assert "loading" in shown
    assert "2/2" in shown
    assert "sigma 0.50" in shown


def test_quiet_is_silent(capsys):
    display = Display(quiet=True)
    display.say("loading")
    display.step(report(1))
    display.close()
    assert capsys.readouterr() == ("", "")


def test_what_is_counted_is_one_line_for_whoever_looks(capsys, monkeypatch):
    assert counter("merging") is None, "stderr is no terminal here"
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    counter("converting", gigabytes=True)(1_500_000_000, 2_000_000_000)
    count = counter("extracting")
    count(1, 2)
    count(2, 2)
    assert capsys.readouterr().err == "\rconverting   1.50 of 2.00 GB\rextracting 1 of 2\rextracting 2 of 2\n"
