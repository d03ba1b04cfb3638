"""Errors of argument parsing are one line too."""

from __future__ import annotations

import pytest

from loom_core.cli import convert, generate, inspect, parity
from loom_core.cli.arguments import parse_size
from loom_core.cli.exits import run
from loom_core.errors import ConfigError


@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        (generate, ["--prompt", "x", "--output", "a.mp4", "--dream"], "--dream"),
        (generate, ["--prompt", "x"], "--output"),
        (generate, ["--prompt", "x", "--output", "a.mp4", "--steps", "1.5"], "1.5"),
        (convert, [], "IN"),
        (inspect, [], "FILE"),
        (parity, [], "DIR"),
    ],
)
def test_wrong_arguments_are_one_line(command, arguments, words, capsys):
    assert run(command.main, arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("error: found arguments that do not fit")
    assert words in error
    assert "--help" in error


def test_sizes():
    assert parse_size("128x96") == (128, 96)
    for text in ("128", "128x", "axb", "100x100", "-64x64"):
        with pytest.raises(ConfigError):
            parse_size(text)
