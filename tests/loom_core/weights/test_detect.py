"""Configurations are read off shapes, completed by what the file says of itself, and checked against each other."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import save_file

from loom_core.config.model import LOOMVIDEO_5B
from loom_core.errors import WeightsError
from loom_core.weights.checkpoint import Checkpoint, TensorInfo
from loom_core.weights.detect import claims_of, detect_config
from loom_core.weights.identify import ModelKind
from loom_core.weights.key_maps import CONFIG_TENSOR
from loom_core.weights.loading import load_dit
from loom_core.weights.reading import open_checkpoint


def without_data(path, shapes, metadata=None):
    infos = {name: TensorInfo(tuple(shape), torch.bfloat16) for name, shape in shapes.items()}
    return Checkpoint(path, (path,), "none", infos, {}.__getitem__, metadata or {})


@pytest.fixture
def keys_5b(weights_dir):
    return json.loads((weights_dir / "loomvideo_5b_keys.json").read_text())["keys"]


@pytest.fixture
def small(tmp_path, make_state):
    def write(metadata=None, **overrides):
        path = tmp_path / "dit.safetensors"
        save_file(make_state(**overrides), path, metadata=metadata)
        return open_checkpoint(path)

    return write


def test_the_released_model_is_known_by_its_shapes(tmp_path, keys_5b):
    assert detect_config(without_data(tmp_path / "x", keys_5b)) == LOOMVIDEO_5B


def test_stage_1_of_it_too(tmp_path, keys_5b):
    stage_1 = {name: shape for name, shape in keys_5b.items() if not name.startswith("source_patch_embedding")}
    assert detect_config(without_data(tmp_path / "x", stage_1)) == replace(LOOMVIDEO_5B, has_source=False)


def test_plain_wan_is_exact(tmp_path, keys_5b):
    wan = {name: shape for name, shape in keys_5b.items() if not name.startswith(("source_", "mllm_"))}
    config = detect_config(without_data(tmp_path / "x", wan))
    assert config == replace(LOOMVIDEO_5B, has_source=False, has_projector=False, rope_precision="exact")


def test_a_small_model_is_exact(small, small_config):
    assert detect_config(small()) == small_config


@pytest.mark.parametrize("overrides", [{"has_source": False}, {"num_layers": 11}, {"out_channels": 16, "ffn_dim": 20}])
def test_shapes_settle_the_sizes(small, small_config, overrides):
    assert detect_config(small(**overrides)) == replace(small_config, **overrides)


def test_metadata_settles_what_shapes_cannot(small, small_config):
    config = replace(small_config, num_heads=4, head_dim=32, eps=1e-5, rope_precision="bf16")
    assert detect_config(small({"config": config.to_json()})) == config


def test_a_hint_wins(small, small_config):
    stated, hint = (replace(small_config, num_heads=128 // width, head_dim=width) for width in (32, 16))
    checkpoint = small({"config": stated.to_json()})
    assert detect_config(checkpoint, hint) == hint
    assert detect_config(checkpoint, asdict(hint)) == hint


def test_config_files_beside_the_weights(golden_dir):
    config = detect_config(open_checkpoint(golden_dir / "models/tiny/gen_model.safetensors"))
    expected = json.loads((golden_dir / "models/tiny/config.json").read_text())
    assert (config.num_heads, config.head_dim) == (4, 24)
    assert config.mllm_dim == expected["und_dim"]
    assert config.time_embed_dim == expected["dit"]["freq_dim"]


def test_a_checkpoint_folder_has_one_config(tmp_path, weights_dir, load_check):
    folder = tmp_path / "ckpt"
    for name in ("ema/ema.pth", "latest/gen_model.pth"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes((weights_dir / "ckpt" / name).read_bytes())
    (folder / "config.json").write_text(json.dumps(load_check[1]["dit_config"]))
    for ema in (True, False):
        assert detect_config(open_checkpoint(folder, ema=ema)).head_dim == 12


def test_the_config_of_something_else_is_ignored(small, small_config):
    checkpoint = small()
    (checkpoint.path.parent / "config.json").write_text('{"architectures": ["Qwen3VL"], "hidden_size": 4096}')
    assert detect_config(checkpoint) == small_config


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_broken_config_file_is_refused(small, text):
    checkpoint = small()
    (checkpoint.path.parent / "config.json").write_text(text)
    with pytest.raises(WeightsError, match=r"config\.json"):
        detect_config(checkpoint)


def test_wans_own_config_is_understood():
    claims = claims_of({"_class_name": "WanModel", "dim": 3072, "num_heads": 24, "ffn_dim": 14336, "num_layers": 30})
    assert claims["head_dim"] == 128


def test_heads_of_unusual_width_must_be_told(weights_dir, load_check):
    checkpoint = open_checkpoint(weights_dir / "gen_model.pth")
    with pytest.raises(WeightsError, match=r"24 wide.*config"):
        detect_config(checkpoint)
    config = detect_config(checkpoint, load_check[1]["dit_config"])
    assert (config.num_heads, config.head_dim, config.in_channels, config.mllm_dim) == (2, 12, 4, 16)


def test_contradictions_are_named(small, small_config):
    checkpoint = small({"config": replace(small_config, ffn_dim=65, num_layers=3).to_json()})
    with pytest.raises(WeightsError, match=r"num_layers 2 \(the configuration says 3\), ffn_dim 64 \(.* 65\)"):
        detect_config(checkpoint)


@pytest.mark.parametrize("head_dim", [7, 48, 0])
def test_impossible_heads_are_refused(small, small_config, head_dim):
    hint = asdict(small_config) | {"head_dim": head_dim, "num_heads": 3}
    checkpoint = small()
    if head_dim == 0:  # says nothing
        assert detect_config(checkpoint, hint).head_dim == 128
    else:
        with pytest.raises(WeightsError, match="head"):
            detect_config(checkpoint, hint)


def test_a_hint_about_something_else_is_refused(small):
    with pytest.raises(WeightsError, match="configuration with"):
        detect_config(small(), {"vocab_size": 3})


def test_what_is_no_dit_is_refused(golden_dir):
    with pytest.raises(WeightsError, match=r"a Wan 2\.2 VAE"):
        detect_config(open_checkpoint(golden_dir / "models/tiny/vae"))


def test_other_patches_are_refused(tmp_path, keys_5b):
    keys_5b["patch_embedding.weight"] = [3072, 48, 1, 4, 4]
    with pytest.raises(WeightsError, match="1x4x4"):
        detect_config(without_data(tmp_path / "x", keys_5b))


OURS = {"format": "loomvideo-dit", "format_version": "1"}


@pytest.mark.parametrize("about", [OURS, {}])
def test_a_field_of_a_newer_version_is_refused(small, small_config, about):
    config = json.dumps(asdict(small_config) | {"window": 8})
    with pytest.raises(WeightsError, match=r"dit\.safetensors.*unknown model settings \['window'\].*update LoomVideo"):
        detect_config(small({**about, "config": config}))


def test_a_field_that_our_own_file_lacks_is_named(small, small_config):
    config = {name: value for name, value in asdict(small_config).items() if name != "head_dim"}
    with pytest.raises(WeightsError, match="head_dim"):
        detect_config(small({**OURS, "config": json.dumps(config)}))


@pytest.mark.parametrize("version", ["2", "10", "1.5", ""])
def test_a_newer_format_is_refused_whatever_the_hint(small, small_config, version):
    checkpoint = small({**OURS, "format_version": version, "config": small_config.to_json()})
    for hint in (None, small_config):
        with pytest.raises(WeightsError, match=f"format version {version!r}.*at most version 1.*update LoomVideo"):
            detect_config(checkpoint, hint)


@pytest.mark.parametrize("about", [OURS, {"format": "loomvideo-dit"}, {"format": "pt", "format_version": "9"}])
def test_files_of_this_format_and_of_others_are_read(small, small_config, about):
    assert detect_config(small({**about, "config": small_config.to_json()})) == small_config


def test_the_configuration_of_other_tools_may_say_more(small, small_config):
    config = {"dim": 128, "num_heads": 1, "ffn_dim": 64, "num_layers": 2, "window_size": [-1, -1]}
    assert detect_config(small({"config": json.dumps(config)})) == small_config


def test_only_other_tools_may_store_something_else_as_config(small, small_config):
    assert detect_config(small({"config": "[]"})) == small_config
    with pytest.raises(WeightsError, match="JSON list"):
        detect_config(small({**OURS, "config": "[]"}))


def as_comfyui_saves(state, config_text):
    tensor = torch.tensor(list(config_text.encode()), dtype=torch.uint8)
    return {f"model.diffusion_model.{name}": value for name, value in (state | {CONFIG_TENSOR: tensor}).items()}


def test_a_file_that_comfyui_saved_says_what_its_shapes_do_not(tmp_path, make_state, small_config):
    """Two heads of 64 have the shapes of one of 128."""
    config = replace(small_config, num_heads=2, head_dim=64, eps=1e-5, rope_precision="bf16")
    save_file(as_comfyui_saves(make_state(), config.to_json()), tmp_path / "saved.safetensors")
    checkpoint = open_checkpoint(tmp_path / "saved.safetensors")
    assert detect_config(checkpoint) == config
    assert checkpoint.kind is ModelKind.LOOMVIDEO
    assert checkpoint.naming.dropped == () and CONFIG_TENSOR not in checkpoint.naming.sources
    load_dit(tmp_path / "saved.safetensors")  # no unexpected weight


@pytest.mark.parametrize("text", ["no json", "[1, 2]", "3", '{"hidden_size": 128}', '{"depth": 3}'])
def test_a_damaged_configuration_in_it_is_refused(tmp_path, make_state, text):
    save_file(as_comfyui_saves(make_state(), text), tmp_path / "saved.safetensors")
    with pytest.raises(WeightsError, match=r"cannot be read|incomplete|unknown"):
        detect_config(open_checkpoint(tmp_path / "saved.safetensors"))
