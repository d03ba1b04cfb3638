"""Every way a command can end gives its own code and, where it is the user's to fix, exactly one line."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest

from loom_core.cli.exits import as_resource_error, run
from loom_core.errors import (
    CancelledError,
    ConfigError,
    MediaError,
    MissingExtraError,
    ResourceError,
    WeightsError,
)


def raising(error):
    def command(_argv):
        raise error

    return command


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (7, 7)])
def test_returns_the_commands_own_code(returned, code):
    assert run(lambda _argv: returned, []) == code


def test_passes_the_arguments_on(monkeypatch):
    seen = []
    run(seen.append, ["a", "b"])
    monkeypatch.setattr(sys, "argv", ["program", "c"])
    run(seen.append)
    assert seen == [["a", "b"], ["c"]]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("98 frames", expected="4k + 1", fix="use 97"), 2),
        (WeightsError("x"), 3),
        (MediaError("x"), 4),
        (MissingExtraError("diffusers", "decoding"), 5),
        (ResourceError("x"), 6),
        (CancelledError("x"), 130),
        (KeyboardInterrupt(), 130),
        (MemoryError(), 6),
        (OSError(errno.ENOSPC, "No space left on device"), 6),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), 6),
    ],
)
def test_a_users_error_is_one_line(error, code, capsys):
    assert run(raising(error), []) == code
    captured = capsys.readouterr()
    assert captured.err.startswith("error: found ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_the_line_says_found_expected_and_fix(capsys):
    run(raising(ConfigError("98\nframes", expected="4k + 1", fix="use 97")), [])
    assert capsys.readouterr().err == "error: found 98 frames; expected 4k + 1; to fix: use 97\n"


@pytest.mark.parametrize("error", [ValueError("a bug"), FileNotFoundError("x"), RuntimeError("shape mismatch")])
def test_a_bug_keeps_its_traceback(error, capsys):
    assert run(raising(error), []) == 1
    captured = capsys.readouterr()
    assert "Traceback" in captured.err
    assert str(error) in captured.err
    assert as_resource_error(error) is None


@pytest.mark.parametrize(("code", "expected"), [(None, 0), (2, 2), ("usage: no", 1)])
def test_system_exit_becomes_a_code(code, expected):
    assert run(raising(SystemExit(code)), []) == expected


def test_argparse_errors_give_2(capsys):
    import argparse

    assert run(lambda argv: argparse.ArgumentParser().parse_args(argv) and None, ["--no-such-option"]) == 2
    assert "usage" in capsys.readouterr().err


def test_torchs_gpu_shortage_is_recognised_by_name():
    import torch

    assert as_resource_error(torch.OutOfMemoryError("CUDA out of memory")).exit_code == 6


def test_a_reader_that_goes_away_is_no_error(repo_root):
    program = (
        "import sys; from loom_core.cli.exits import run\n"
        "def main(argv):\n"
        "    for _ in range(100000): print('line')\n"
        "sys.exit(run(main, []))"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=repo_root
    )
    writer.stdout.readline()
    writer.stdout.close()
    assert writer.stderr.read() == b""
    assert writer.wait() == 141
