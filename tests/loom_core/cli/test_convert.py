"""`python -m loom_core.cli.convert`, as a shell sees it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from loom_core.cli.convert import main
from loom_core.cli.exits import run
from loom_core.weights.loading import load_dit
from loom_core.weights.reading import open_checkpoint


@pytest.fixture
def target(tmp_path):
    return tmp_path / "dit.safetensors"


def test_a_folder_becomes_one_file(golden_dir, target, capsys):
    assert run(main, [str(golden_dir / "models/tiny"), str(target), "--dtype", "fp32"]) == 0
    assert {parameter.dtype for parameter in load_dit(target).parameters()} == {torch.float32}
    output = capsys.readouterr().out
    assert str(target) in output
    assert "3 blocks, 96 wide, 4 heads" in output
    assert open_checkpoint(target).metadata["content_sha256"] in output


def test_live_weights_on_request(golden_dir, target, tmp_path):
    config = tmp_path / "config.json"
    config.write_text('{"hidden_size": 24, "num_heads": 2, "head_dim": 12, "num_layers": 2, "ffn_dim": 20}')
    arguments = [str(golden_dir / "weights/ckpt"), str(target), "--config", str(config)]
    assert run(main, [*arguments, "--no-ema"]) == 0
    assert set(open_checkpoint(target).dtypes) == {torch.bfloat16}
    assert run(main, [*arguments, "--overwrite"]) == 0
    assert set(open_checkpoint(target).dtypes) == {torch.float32}


@pytest.mark.parametrize(
    ("make", "code_and_text"),
    [
        (lambda golden, target: [golden / "nothing.pth", target], (3, "no file")),
        (lambda golden, target: [golden / "models/tiny/vae", target], (3, "a Wan 2.2 VAE")),
        (lambda golden, target: [golden / "weights/gen_model.pth", target], (3, "--config")),
        (lambda golden, target: [golden / "models/tiny", target / "nowhere/x"], (2, "no folder")),
        (lambda golden, _: [golden / "models/tiny", golden], (2, "the folder")),
    ],
)
def test_errors_are_one_line_and_leave_nothing(golden_dir, target, capsys, make, code_and_text):
    code, text = code_and_text
    assert run(main, [str(argument) for argument in make(golden_dir, target)]) == code
    error = capsys.readouterr().err
    assert error.startswith("error: found ")
    assert error.count("\n") == 1
    assert text in error
    assert list(target.parent.iterdir()) == []


def test_an_existing_file_is_kept(golden_dir, target, capsys):
    target.write_text("precious")
    assert run(main, [str(golden_dir / "models/tiny"), str(target)]) == 2
    assert target.read_text() == "precious"
    assert "--overwrite" in capsys.readouterr().err


def test_as_a_module(golden_dir, target, repo_root):
    command = [sys.executable, "-m", "loom_core.cli.convert"]
    source = str(golden_dir / "models/tiny")
    done = subprocess.run([*command, source, str(target)], cwd=repo_root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    wrong = subprocess.run([*command, source], cwd=repo_root, capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "OUT" in wrong.stderr


@pytest.mark.parametrize("name", ["fp8", "int8"])
def test_quantised_on_request(golden_dir, target, capsys, name):
    assert run(main, [str(golden_dir / "models/tiny"), str(target), "--to", name]) == 0
    assert str(target) in capsys.readouterr().out
    assert open_checkpoint(target).tensor("blocks.0.ffn.0.weight").element_size() == 1


def test_an_mllm_becomes_a_folder(golden_dir, tmp_path, capsys):
    assert run(main, [str(golden_dir / "models/tiny/qwen"), str(tmp_path / "mllm"), "--to", "fp8"]) == 0
    output = capsys.readouterr().out
    assert "a Qwen3-VL language model" in output
    assert "left out   1 weights of the head that writes words, which nothing reads" in output
    assert (tmp_path / "mllm" / "config.json").is_file()


def test_an_unknown_format_is_refused_before_anything_is_written(golden_dir, target, capsys):
    assert run(main, [str(golden_dir / "models/tiny"), str(target), "--to", "fp7"]) == 2
    assert "format 'fp7'" in capsys.readouterr().err
    assert not target.exists()
