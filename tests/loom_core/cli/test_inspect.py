"""`python -m loom_core.cli.inspect`, as a shell sees it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from loom_core.cli.exits import run
from loom_core.cli.inspect import main
from loom_core.weights.convert import convert_checkpoint
from loom_core.weights.quantise import SCHEMES


def lines(text):
    """ "what: value" rows as a mapping to the list of their values."""
    rows = {}
    for line in text.splitlines():
        rows.setdefault(line[:11].strip(), []).append(line[11:])
    return rows


def test_a_model_is_described(golden_dir, capsys):
    assert run(main, [str(golden_dir / "models/tiny")]) == 0
    rows = lines(capsys.readouterr().out)
    assert rows["model"] == ["a LoomVideo DiT"]
    assert rows["names"] == ["diffusers (official)"]
    assert rows["missing"] == rows["unexpected"] == rows["misshaped"] == ["none"]
    assert "head_dim = 24" in rows["config"]
    assert rows["dtype"] == ["bfloat16: 103 tensors, 969.2 kB"]


@pytest.mark.parametrize(
    ("path", "model"),
    [("models/tiny/vae", "wan_22_vae"), ("models/tiny/qwen", "qwen3_vl"), ("weights/full_model.pt", "loomvideo")],
)
def test_json(golden_dir, capsys, path, model):
    assert run(main, [str(golden_dir / path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == model


def test_the_prefix_is_shown(golden_dir, capsys):
    run(main, [str(golden_dir / "weights/full_model.pt")])
    assert lines(capsys.readouterr().out)["names"] == ["diffusers (official), prefix 'gen_model.'"]


def test_holes_are_named_and_give_3(incomplete, capsys):
    assert run(main, [str(incomplete)]) == 3
    assert lines(capsys.readouterr().out)["missing"] == ["1: proj_out.bias"]


@pytest.fixture
def incomplete(golden_dir, tmp_path):
    from safetensors.torch import load_file, save_file

    state = load_file(golden_dir / "models/tiny/gen_model.safetensors")
    del state["proj_out.bias"]
    (tmp_path / "config.json").write_text((golden_dir / "models/tiny/config.json").read_text())
    save_file(state, tmp_path / "x.safetensors")
    return tmp_path / "x.safetensors"


def test_verification(golden_dir, tmp_path, capsys):
    path = tmp_path / "dit.safetensors"
    convert_checkpoint(golden_dir / "models/tiny", path)
    assert run(main, [str(path), "--verify"]) == 0
    path.write_bytes(path.read_bytes()[:-1] + b"\x55")
    assert run(main, [str(path), "--verify"]) == 3
    assert "CHANGED" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04"])
def test_what_cannot_be_read_is_one_line(tmp_path, capsys, content):
    (tmp_path / "x.pth").write_bytes(content)
    assert run(main, [str(tmp_path / "x.pth")]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1


def test_as_a_module(golden_dir, repo_root):
    command = [sys.executable, "-m", "loom_core.cli.inspect", str(golden_dir / "models/tiny"), "--json"]
    done = subprocess.run(command, cwd=repo_root, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert json.loads(done.stdout)["config"]["num_layers"] == 3


def test_quantisation_is_named(golden_dir, tmp_path, capsys):
    convert_checkpoint(golden_dir / "models/tiny", tmp_path / "fp8.safetensors", scheme=SCHEMES["fp8"])
    assert run(main, [str(tmp_path / "fp8.safetensors"), "--verify"]) == 0
    rows = lines(capsys.readouterr().out)
    assert rows["quantised"] == ["30 layers in float8_e4m3fn"]
    assert rows["missing"] == rows["unexpected"] == rows["misshaped"] == ["none"]
    assert rows["content"] == ["as its hash says"]


def test_an_unknown_quantisation_is_named_and_no_whole_model(tmp_path, golden_dir, capsys):
    path = tmp_path / "nvfp4.safetensors"
    convert_checkpoint(golden_dir / "models/tiny", tmp_path / "fp8.safetensors", scheme=SCHEMES["fp8"])
    tensors = load_file(tmp_path / "fp8.safetensors")
    tensors["blocks.0.ffn.0.comfy_quant"] = torch.tensor(list(b'{"format": "nvfp4"}'), dtype=torch.uint8)
    save_file(tensors, path)
    assert run(main, [str(path), "--config", str(golden_dir / "models/tiny/config.json")]) == 3
    rows = lines(capsys.readouterr().out)
    assert "1 layers in nvfp4" in rows["quantised"][0]
    assert "'blocks.0.ffn.0' is quantised as nvfp4" in rows["problem"][0]
