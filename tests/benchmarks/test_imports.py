"""That the measurement imports what it says; never how long anything takes."""

import os
import sys
from pathlib import Path

import pytest

from benchmarks import imports


def test_without_a_checkout_it_says_what_it_needs(monkeypatch):
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    assert "COMFYUI_PATH" in imports.missing()
    monkeypatch.setenv("COMFYUI_PATH", "somewhere")
    assert imports.missing() is None


@pytest.mark.slow
@pytest.mark.skipif("COMFYUI_PATH" not in os.environ, reason="needs a ComfyUI checkout: set COMFYUI_PATH")
def test_the_pack_inside_comfyui():
    checkout = Path(os.environ["COMFYUI_PATH"]).resolve()
    found = imports.measure_apart(checkout, os.environ.get("COMFYUI_PYTHON", sys.executable))
    assert found.nodes > 10
    assert found.host > 0
    assert found.unwanted == []
    assert "loom_pack.nodes.training" in found.modules
    # what training needs is read when something is trained, torch's kernel for packs when a GPU is to run one
    assert [name for name in found.modules if name.startswith("loom_pack.loom_core.training")] == []
    assert {name for name in found.modules if name.startswith("loom_pack.loom_core.data.")} == {
        "loom_pack.loom_core.data.tasks"
    }
    assert "torch.nn.attention.varlen" not in found.modules
