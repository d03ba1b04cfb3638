"""Finding the parts of a model."""

from __future__ import annotations

import pytest
from safetensors.torch import save_file

from loom_core.bundle import BUILT_IN, default_preset_name, find_model
from loom_core.config.model import LOOMVIDEO_5B
from loom_core.errors import ConfigError, WeightsError


def test_the_built_in_model_is_whole_and_small():
    files = find_model()
    assert files.is_built_in
    config = files.dit_config()
    assert (config.in_channels, config.has_source, config.has_projector) == (48, True, True)
    assert default_preset_name(config) == "tiny"
    assert sum(file.stat().st_size for file in BUILT_IN.rglob("*") if file.is_file()) <= 20e6


def test_the_released_size_is_run_as_released():
    assert default_preset_name(LOOMVIDEO_5B) == "official"


def test_parts_are_found_beside_the_model(golden_dir):
    files = find_model(golden_dir / "models" / "tiny")
    assert files.mllm.name == "qwen"
    assert files.codec.name == "vae"
    assert files.dit_config().num_layers == 3
    same = find_model(golden_dir / "models" / "tiny" / "gen_model.safetensors")
    assert (same.mllm, same.codec) == (files.mllm, files.codec)
    assert not files.is_built_in


def test_what_is_missing_is_named(small_dit, tmp_path):
    with pytest.raises(WeightsError, match="no file or folder"):
        find_model(tmp_path / "nothing.safetensors")
    with pytest.raises(ConfigError, match=r"no Qwen3-VL beside the model.*--mllm"):
        find_model(small_dit)
    with pytest.raises(ConfigError, match=r"no VAE beside the model.*--vae"):
        find_model(small_dit, mllm=BUILT_IN / "mllm")


def test_swapped_files_are_named(tmp_path):
    import torch

    vae = tmp_path / "vae.safetensors"
    weights = {"decoder.conv1.weight": torch.zeros(8, 48, 3, 3, 3), "encoder.conv1.weight": torch.zeros(8, 12, 3, 3, 3)}
    save_file(weights, vae)
    parts = {"mllm": BUILT_IN / "mllm", "codec": BUILT_IN / "codec.safetensors"}
    with pytest.raises(WeightsError, match="VAE"):
        find_model(vae, **parts).dit_config()
    with pytest.raises(WeightsError):
        find_model(parts["codec"], **parts).dit_config()


def test_missing_weights_and_wrong_codecs_are_told_from_headers(small_dit, tmp_path):
    from safetensors import safe_open
    from safetensors.torch import load_file

    parts = {"mllm": BUILT_IN / "mllm", "codec": BUILT_IN / "codec.safetensors"}
    weights = load_file(small_dit)
    del weights["blocks.1.ffn.0.bias"]
    with safe_open(small_dit, "pt") as file:
        save_file(weights, tmp_path / "lacking.safetensors", metadata=file.metadata())
    with pytest.raises(WeightsError, match=r"blocks\.1\.ffn\.0\.bias"):
        find_model(tmp_path / "lacking.safetensors", **parts).check()
    assert find_model(small_dit, **parts).check().num_layers == 2
    with pytest.raises(WeightsError, match="a LoomVideo DiT"):
        find_model(small_dit, **{**parts, "codec": small_dit}).check()
