"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repo_root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    """Reference numbers of the official code; LOOM_GOLDEN_DIR names a larger set of the same layout."""
    return Path(os.environ.get("LOOM_GOLDEN_DIR", ROOT / "tests" / "golden"))
