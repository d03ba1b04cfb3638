"""The difference of two models: met exactly where it has the rank, as near as can be where not."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from loom_core.errors import ConfigError, WeightsError
from loom_core.lora.extract import approximated, extract_lora
from loom_core.lora.merge import merge_lora


@pytest.fixture
def tuned(state, factors):
    """The base with changes of rank 3, and some that are no layer's."""
    changed = dict(state)
    for module, (up, down) in factors.items():
        changed[f"{module}.weight"] = state[f"{module}.weight"] + up @ down
    for name in ("source_patch_embedding.weight", "blocks.0.ffn.2.bias", "blocks.1.modulation"):
        changed[name] = state[name] + 0.1
    return changed


def test_a_difference_of_that_rank_is_met_exactly(base, write, tuned, state, tmp_path):
    lora = tmp_path / "lora.safetensors"
    report = extract_lora(base, write(tuned, "tuned.safetensors"), lora, rank=3, dtype=torch.float32)
    assert (report.low_rank, report.whole, report.unchanged) == (4, 3, len(state) - 7)
    assert report.kept == pytest.approx(1, abs=1e-6)
    merge_lora(base, lora, tmp_path / "merged.safetensors")
    for name, weight in load_file(tmp_path / "merged.safetensors").items():
        torch.testing.assert_close(weight, tuned[name], atol=2e-6, rtol=1e-5)
    tensors = load_file(lora)
    assert tensors["diffusion_model.blocks.0.self_attn.q.alpha"] == 3
    assert tensors["diffusion_model.blocks.0.self_attn.q.lora_A.weight"].shape == (3, 24)


def test_a_lower_rank_keeps_the_largest_part_and_says_how_much(base, write, tuned, factors, tmp_path):
    report = extract_lora(base, write(tuned, "tuned.safetensors"), tmp_path / "lora.safetensors", rank=1)
    values = [torch.linalg.svdvals(up @ down) for up, down in factors.values()]
    expected = sum(v[0] ** 2 for v in values) / sum((v**2).sum() for v in values)
    assert report.kept == pytest.approx(float(expected), rel=1e-4)
    assert 0.3 < report.kept < 0.95
    assert {tensor.dtype for name, tensor in load_file(report.target).items() if "alpha" not in name} == {
        torch.bfloat16
    }


def test_a_rank_beyond_a_layer_is_its_own(base, write, tuned, tmp_path):
    report = extract_lora(base, write(tuned, "tuned.safetensors"), tmp_path / "lora.safetensors", rank=500)
    shapes = {name: tuple(tensor.shape) for name, tensor in load_file(report.target).items()}
    assert shapes["diffusion_model.mllm_embedder.linear_2.lora_A.weight"] == (24, 96)


@pytest.mark.parametrize(("rows", "columns"), [(1100, 1300), (1300, 1100)])
def test_large_matrices_go_a_faster_way_to_the_same(rows, columns):
    """Beyond 1,024 a part of the singular values is looked at; known ones, falling slowly, are found all the same."""
    generator = torch.Generator().manual_seed(0)
    left, _ = torch.linalg.qr(torch.randn(rows, 40, generator=generator))
    right, _ = torch.linalg.qr(torch.randn(columns, 40, generator=generator))
    values = 1 / torch.arange(1, 41)
    matrix = left * values @ right.mT
    up, down = approximated(matrix, 40)
    torch.testing.assert_close(up @ down, matrix, atol=1e-5, rtol=0)
    up, down = approximated(matrix, 8)
    best = (values[8:] ** 2).sum().sqrt()
    assert (matrix - up @ down).norm() == pytest.approx(float(best), rel=1e-3)
    again = approximated(matrix, 8)
    assert torch.equal(up, again[0]) and torch.equal(down, again[1])


def test_equal_and_unlike_models_are_refused(base, write, state, tmp_path):
    target = tmp_path / "lora.safetensors"
    with pytest.raises(WeightsError, match="which hold the same weights"):
        extract_lora(base, base, target)
    lacking = write({name: w for name, w in state.items() if not name.startswith("blocks.1.ffn.0")}, "less.safetensors")
    with pytest.raises(WeightsError, match=r"2 missing.*two checkpoints of one model"):
        extract_lora(base, lacking, target)
    with pytest.raises(ConfigError, match="rank 0"):
        extract_lora(base, base, target, rank=0)
    target.write_bytes(b"mine")
    with pytest.raises(ConfigError, match="a new name"):
        extract_lora(base, base, target)
    assert target.read_bytes() == b"mine"
