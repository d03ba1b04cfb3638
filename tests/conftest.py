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


@pytest.fixture(scope="session")
def reference_dit():
    """The slow DiT of tests/reference, loaded by path: the tests are no package."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("reference_dit", ROOT / "tests" / "reference" / "dit.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.forward
