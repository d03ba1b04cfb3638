"""The kernels' numbers are tested in a process of its own: Triton compiles or interprets as it was imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def test_numbers_in_the_interpreter():
    pytest.importorskip("triton", reason="needs triton, which comes with torch's builds for CUDA (pip install triton)")
    inside = Path(__file__).with_name("triton_numbers.py")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(inside)],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout
