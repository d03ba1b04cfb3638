"""The script that makes loom-tiny's DiT: the answers to its edits, and a run of two steps."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open

from loom_core.bundle import BUILT_IN, find_model
from loom_core.weights.loading import load_dit


@pytest.fixture(scope="module")
def script(load_script):
    return load_script("make_tiny_dit")


def test_edits_do_what_they_say(script):
    pixels = 2 * torch.rand(3, 2, 4, 4, generator=torch.Generator().manual_seed(0)) - 1
    results = {phrase: edit(pixels) for phrase, edit in script.EDITS.items()}
    assert torch.equal(results["Keep everything as it is."], pixels)
    grey = results["Make it black and white."]
    assert torch.equal(grey[0], grey[2])
    assert (results["Make it warmer."][0] >= pixels[0]).all()
    assert (results["Make it colder."][2] >= pixels[2]).all()
    assert (results["Make it darker."] <= pixels).all()
    red = torch.tensor([0.8, -0.5, -0.5])[:, None, None, None].expand(3, 1, 4, 4)
    painted = script.painted(0.3 * pixels, red).mean(dim=(1, 2, 3))
    assert painted.tolist() == pytest.approx([0.8, -0.5, -0.5], abs=0.05)


def test_two_steps_write_a_model_that_loads(script, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "NUM_CLIPS", 2)
    monkeypatch.setattr(script, "BATCH", 2)
    output = tmp_path / "dit.safetensors"
    monkeypatch.setattr("sys.argv", ["make_tiny_dit.py", "--output", str(output), "--steps", "2"])
    script.main()
    model = load_dit(output, dtype=torch.float32)
    assert model.config == script.CONFIG
    with safe_open(output, "pt") as file:
        assert json.loads(file.metadata()["training"])["steps"] == 2


def test_the_shipped_model_was_made_by_this_script(script):
    assert find_model().dit_config() == script.CONFIG
    with safe_open(BUILT_IN / "dit.safetensors", "pt") as file:
        told = json.loads(file.metadata()["training"])
    assert told["edits"] == [*script.EDITS, script.REFERENCE_EDIT]
