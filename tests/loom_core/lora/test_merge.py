"""A merged file is base plus change, in any layout, and says what was merged."""

from __future__ import annotations

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from loom_core.errors import ConfigError, WeightsError
from loom_core.lora.merge import merge_lora
from loom_core.weights.key_maps import to_diffusers


@pytest.mark.parametrize("strength", [1.0, -0.5])
def test_it_is_base_plus_change(base, state, factors, plain, write_lora, tmp_path, strength):
    report = merge_lora(base, write_lora(plain), tmp_path / "merged.safetensors", strength=strength)
    merged = load_file(tmp_path / "merged.safetensors")
    assert merged.keys() == state.keys()
    for name, weight in state.items():
        module = name.removesuffix(".weight")
        if module in factors:
            up, down = factors[module]
            torch.testing.assert_close(merged[name], weight + strength * 2.0 * up @ down)
        else:
            assert torch.equal(merged[name], weight)
    assert len(report.lora.changes) == 4
    with safe_open(tmp_path / "merged.safetensors", framework="pt") as file:
        metadata = file.metadata()
    assert metadata["lora_name"] == "some_lora.safetensors" and metadata["lora_strength"] == f"{strength:g}"


def test_a_base_in_bf16_is_added_to_in_float32(write, state, factors, plain, write_lora, tmp_path):
    base = write(state, dtype=torch.bfloat16)
    merge_lora(base, write_lora(plain), tmp_path / "merged.safetensors")
    merged = load_file(tmp_path / "merged.safetensors")
    module, (up, down) = next(iter(factors.items()))
    weight = state[f"{module}.weight"].bfloat16()
    assert torch.equal(merged[f"{module}.weight"], (weight.float() + 2.0 * (up @ down)).bfloat16())


def test_a_base_in_official_names(write, state, plain, write_lora, base, tmp_path):
    official = write({to_diffusers(name): tensor for name, tensor in state.items()}, name="official.safetensors")
    lora = write_lora(plain)
    first, second = (merge_lora(path, lora, tmp_path / f"{path.stem}_merged.safetensors") for path in (base, official))
    assert first.written.content_sha256 == second.written.content_sha256


def test_a_quantised_base_is_refused(write, state, plain, write_lora, tmp_path):
    name = "blocks.1.ffn.0.weight"
    base = write({**state, name: state[name].to(torch.float8_e4m3fn)})
    with pytest.raises(ConfigError, match=r"1 of whose changed weights are in torch\.float8_e4m3fn"):
        merge_lora(base, write_lora(plain), tmp_path / "merged.safetensors")


def test_what_is_no_model_is_refused_and_nothing_is_written(plain, write_lora, base, tmp_path):
    lora = write_lora(plain)
    with pytest.raises(WeightsError, match=r"which is a LoRA.*expected a LoomVideo DiT"):
        merge_lora(lora, lora, tmp_path / "merged.safetensors")
    with pytest.raises(WeightsError, match="expected a LoRA"):
        merge_lora(base, base, tmp_path / "merged.safetensors")
    assert not (tmp_path / "merged.safetensors").exists()
