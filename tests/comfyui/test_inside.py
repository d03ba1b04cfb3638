"""Runs the tests of inside/ in ComfyUI's own interpreter, where that is another one than this."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_inside_comfyuis_interpreter():
    python = os.environ.get("COMFYUI_PYTHON")
    if not os.environ.get("COMFYUI_PATH"):
        pytest.skip("needs a ComfyUI checkout: set COMFYUI_PATH (and COMFYUI_PYTHON)")
    if not python or Path(python).absolute() == Path(sys.executable).absolute():
        pytest.skip("COMFYUI_PYTHON is this interpreter: tests/comfyui/inside runs in it directly")
    command = [python, "-m", "pytest", "tests/comfyui/inside", "-rs", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout[-2000:])  # noqa: T201 - shown with -rP, and where it fails
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    assert " passed" in done.stdout  # or all of them were skipped
