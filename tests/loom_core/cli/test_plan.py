"""The command that plans memory."""

import json

import pytest

from loom_core.cli.exits import run
from loom_core.cli.plan import main, parse_vram
from loom_core.errors import ConfigError


def test_a_run_is_told_phase_by_phase(capsys):
    assert main(["--vram", "12GB"]) == 0
    shown = capsys.readouterr().out
    assert "832x480, 81 frames, source; bf16 weights; a GPU with 12.0 GB free" in shown
    assert "the MLLM's layers come one after another" in shown
    assert main(["--vram", "12GB", "--offload", "none"]) == 0
    assert "the MLLM on the processor" in capsys.readouterr().out


@pytest.mark.parametrize("weights", ["bf16", "fp8", "gguf-q4_0"])
def test_all_weights_streamed(capsys, weights):
    assert main(["--offload", "blocks", "--weights", weights, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["measures"]["streamed_blocks"] == 30 and data["measures"]["streams_mllm"]
    assert data["needed"] < 9e9


def test_json_follows_the_arguments(capsys):
    arguments = ["--size", "1280x704", "--frames", "121", "--references", "2", "--weights", "fp8", "--json"]
    assert main(arguments) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["run"], data["weights"]) == ("1280x704, 121 frames, source, 2 references", "fp8")
    assert [phase["name"] for phase in data["phases"]] == ["prompt", "encode", "denoise", "decode"]
    assert main(["--no-source", "--cpu", "--vae-dtype", "bf16", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [phase["name"] for phase in data["phases"]] == ["prompt", "denoise", "decode"]
    assert data["device"] == "cpu"


def test_cards(capsys):
    assert main(["--cards"]) == 0
    shown = capsys.readouterr().out
    assert "24 GB" in shown and "6 GB" in shown
    assert main(["--cards", "--markdown"]) == 0
    assert capsys.readouterr().out.startswith("| card |")
    assert main(["--cards", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["card"] == 24


@pytest.mark.parametrize("arguments", [["--cards", "--vram", "12GB"], ["--markdown"]])
def test_options_that_would_be_ignored_are_refused(arguments):
    with pytest.raises(ConfigError, match="--cards"):
        main(arguments)


def test_the_mllm_beside_the_model(capsys, repo_root):
    model = repo_root / "loom_core" / "assets" / "loom_tiny"
    assert main(["--model", str(model), "--size", "128x128", "--frames", "9", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["phases"][0]["weights"] < 5e6  # the released one takes 16 GB


def test_sizes_of_other_models(capsys, repo_root, golden_dir):
    model = repo_root / "loom_core" / "assets" / "loom_tiny"
    mllm = golden_dir / "models" / "tiny" / "qwen"
    assert main(["--model", str(model), "--mllm", str(mllm), "--size", "128x128", "--frames", "9", "--json"]) == 0
    small = {phase["name"]: phase for phase in json.loads(capsys.readouterr().out)["phases"]}
    assert small["denoise"]["weights"] < 20e6
    assert small["prompt"]["weights"] < 2e6
    assert small["decode"]["weights"] < 2e6  # its codec lies beside it
    other = ["--vae", str(golden_dir / "models" / "tiny" / "vae"), "--size", "128x128", "--frames", "9", "--json"]
    assert main(other) == 0
    decode = json.loads(capsys.readouterr().out)["phases"][-1]
    assert 0 < decode["weights"] < 1e9


@pytest.mark.parametrize(("text", "num_bytes"), [("12GB", 12e9), ("7.5 gb", 7.5e9), ("6", 6e9), ("8G", 8e9)])
def test_amounts(text, num_bytes):
    assert parse_vram(text) == num_bytes


@pytest.mark.parametrize("text", ["lots", "0", "-3GB", "12TB"])
def test_amounts_that_are_none(text):
    with pytest.raises(ConfigError, match="a number of GB"):
        parse_vram(text)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--size", "830x480"], 2, "use 832x480"),
        (["--size", "large"], 2, "--size large"),
        (["--frames", "98"], 2, "use 97 or 101"),
        (["--weights", "int4"], 2, "weights 'int4'"),
        (["--vae-dtype", "fp8"], 2, "dtype 'fp8'"),
        (["--vram", "4GB"], 6, "expected at most 4.0 GB; to fix:"),
        (["--offload", "disk"], 2, "offload 'disk'"),
        (["--offload", "blocks", "--cpu"], 2, "a CPU has but one memory"),
    ],
)
def test_errors_are_one_line(capsys, arguments, code, words):
    assert run(main, arguments) == code
    shown = capsys.readouterr().err
    assert words in shown and shown.count("\n") == 1
