"""Paths at which nothing lies."""

from __future__ import annotations

import pytest

from loom_core.errors import WeightsError
from loom_core.weights.presence import require_present


def test_the_first_missing_path_is_named(tmp_path):
    require_present(None, tmp_path)
    with pytest.raises(WeightsError, match=r"no file or folder .*gone\.safetensors"):
        require_present(tmp_path, None, tmp_path / "gone.safetensors", tmp_path / "also gone")
