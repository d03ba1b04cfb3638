"""`python -m loom_core.cli.lora`, as a shell sees it, and a LoRA trained by the train command on a small model."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from loom_core.cli.exits import run
from loom_core.cli.lora import main
from loom_core.cli.train import main as train
from loom_core.weights.reading import open_checkpoint

TRAINED = """
name: micro
run: {run}
steps: 2
starts_from: {base}
model:
  preset: tiny
  sizes: {{hidden_size: 48, num_heads: 2, head_dim: 24, num_layers: 2, ffn_dim: 64, time_embed_dim: 32}}
precision: fp32
gradient_checkpointing: false
lora: {{rank: 2, alpha: 4, whole: [source_patch_embedding]}}
optimiser: {{lr: 1e-2, warmup: 0}}
validation: {{every: 0}}
data:
  sets: [{{kind: world, options: {{count: 9, size: [64, 64], frames: [5], tasks: {{edit-image: 1}}}}}}]
  sizes: [[64, 64]]
  num_frames: 5
  token_budget: 500
  max_samples_per_pack: 2
"""


@pytest.fixture
def config_file(tmp_path, small_dit):
    path = tmp_path / "micro.yaml"
    path.write_text(TRAINED.format(run=tmp_path / "run", base=small_dit), encoding="utf-8")
    return path


def test_trained_inspected_merged_and_extracted_again(config_file, small_dit, tmp_path, capsys):
    command = ["--config", str(config_file), "--device", "cpu", "--quiet"]
    assert run(train, [*command, "--dry-run"]) == 0
    assert "rank 2, times 2, 0.01 M of these parameters" in capsys.readouterr().out
    assert run(train, [*command, "--steps", "1"]) == 0
    assert run(train, command) == 0
    assert run(main, ["inspect", str(tmp_path / "run"), "--model", str(small_dit), "--json"]) == 0
    out = capsys.readouterr().out
    told = json.loads(out[out.index("{\n") :])
    assert told["kinds"] == {"low rank 2": 20, "difference": 2} and told["scales"] == {"2": 20}

    merged = tmp_path / "merged.safetensors"
    assert run(main, ["merge", str(small_dit), str(tmp_path / "run"), str(merged)]) == 0
    assert "22 weights changed at strength 1" in capsys.readouterr().out
    before, after = load_file(small_dit), load_file(merged)
    assert sum(not torch.equal(weight, after[name]) for name, weight in before.items()) == 22

    again = tmp_path / "again.safetensors"
    arguments = [
        "extract",
        str(small_dit),
        str(merged),
        str(again),
        "--rank",
        "2",
        "--dtype",
        "fp32",
        "--device",
        "cpu",
    ]
    assert run(main, arguments) == 0
    assert "20 at low rank, with 100.00% of" in capsys.readouterr().out
    assert run(main, ["merge", str(small_dit), str(again), str(merged), "--overwrite"]) == 0
    for name, weight in load_file(merged).items():
        torch.testing.assert_close(weight, after[name], atol=1e-5, rtol=1e-4)


def test_an_inspection_is_told_in_lines(tmp_path, capsys):
    name = "lora_unet_blocks_0_self_attn_q"
    save_file(
        {
            f"{name}.lora_down.weight": torch.zeros(4, 384),
            f"{name}.lora_up.weight": torch.zeros(384, 4),
            f"{name}.alpha": torch.tensor(2.0),
            "lora_unet_text_embedding_0.alpha": torch.tensor(1.0),
            "lora_te_something.alpha": torch.tensor(1.0),
        },
        tmp_path / "lora.safetensors",
        metadata={"ss_base": "x"},
    )
    assert run(main, ["inspect", str(tmp_path / "lora.safetensors")]) == 0
    out = capsys.readouterr().out
    for line in ("for        loom-tiny", "changes    1 low rank 4", "scale      0.5 (1)", "of         self_attn 1",
                 "1 tensors of Wan's text embedder", "not for this model: lora_te_", "ss_base = x"):  # fmt: skip
        assert line in out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "required"),
        (["merge", "BASE", "nowhere", "out.safetensors"], 3, "no file nowhere"),
        (["merge", "BASE", "BASE", "out.safetensors"], 3, "expected a LoRA"),
        (["merge", "BASE", "BASE", "out.safetensors", "--strength", "0"], 2, "strength 0"),
        (["extract", "BASE", "BASE", "out.safetensors", "--rank", "0"], 2, "rank 0"),
        (["inspect", "BASE"], 3, "expected a LoRA"),
    ],
)
def test_what_is_wrong_is_one_line_and_a_code(small_dit, capsys, arguments, code, message):
    assert run(main, [str(small_dit) if word == "BASE" else word for word in arguments]) == code
    err = capsys.readouterr().err
    assert err.startswith("error: ") and message in err and err.count("\n") == 1


def test_a_file_of_the_run_is_one_that_the_host_reads(config_file, tmp_path):
    assert run(train, ["--config", str(config_file), "--device", "cpu", "--quiet"]) == 0
    names = set(open_checkpoint(tmp_path / "run"))
    assert all(name.startswith("diffusion_model.") for name in names)
    assert {name.rpartition("self_attn.q.")[2] for name in names if ".self_attn.q." in name} == {
        "lora_A.weight", "lora_B.weight", "alpha",
    }  # fmt: skip
