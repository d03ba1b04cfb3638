import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from loom_core.errors import ConfigError, MissingExtraError, WeightsError
from loom_core.mllm import loading
from loom_core.mllm.loading import QWEN3_VL_8B, build_empty, load_qwen, model_key, open_qwen

pytest.importorskip("transformers", reason="Qwen3-VL comes from transformers")

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def weights(qwen_dir):
    return load_file(qwen_dir / "model.safetensors")


@pytest.fixture
def folder(qwen_dir, tmp_path):
    shutil.copy(qwen_dir / "config.json", tmp_path / "config.json")
    return tmp_path


def load(path, **kwargs):
    return load_qwen(path, dtype=torch.float32, device=CPU, **kwargs)


def same_model(one, other):
    found = dict(other.named_parameters())
    return all(torch.equal(weight, found[name]) for name, weight in one.named_parameters()) and len(found) > 0


def test_folder(qwen_dir, weights):
    model = load(qwen_dir)
    assert not model.training
    assert not hasattr(model, "lm_head")
    assert not any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))
    assert not any(weight.requires_grad for weight in model.parameters())
    assert torch.equal(
        model.language_model.layers[2].mlp.up_proj.weight,
        weights["model.language_model.layers.2.mlp.up_proj.weight"].float(),
    )


def test_tables_equal_those_of_a_model_built_in_full(qwen_dir):
    config = json.loads((qwen_dir / "config.json").read_text())
    config_class, model_class = loading._import_qwen()
    expected = dict(model_class(config_class(**config)).named_buffers())
    found = dict(build_empty(config).named_buffers())
    assert set(found) == set(expected)
    assert all(torch.equal(found[name], table) for name, table in expected.items())


def test_dtype_and_unused_copies(qwen_dir):
    model = load_qwen(qwen_dir, dtype=torch.bfloat16, device=CPU)
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    assert {table.dtype for table in model.buffers()} == {torch.float32}  # tables stay exact


def test_bf16_tables(qwen_dir):
    exact, rounded = load(qwen_dir), load(qwen_dir, rope_precision="bf16")
    for name, table in exact.named_buffers():
        assert torch.equal(rounded.get_buffer(name), table.bfloat16().float())
        assert not torch.equal(rounded.get_buffer(name), table)
    with pytest.raises(ConfigError, match="rope_precision 'fp8'"):
        load(qwen_dir, rope_precision="fp8")


@pytest.mark.parametrize(
    ("text", "vision"),
    [("model.language_model.", "model.visual."), ("language_model.", "visual."), ("model.", "visual.")],
)
def test_every_naming_in_one_file(qwen_dir, folder, weights, text, vision):
    renamed = {
        key.replace("model.language_model.", text).replace("model.visual.", vision): tensor
        for key, tensor in weights.items()
    }
    save_file(renamed, folder / "encoder.safetensors")
    assert same_model(load(qwen_dir), load(folder / "encoder.safetensors"))


def test_config_given_apart(qwen_dir, tmp_path):
    shutil.copy(qwen_dir / "model.safetensors", tmp_path / "alone.safetensors")
    assert same_model(load(qwen_dir), load(tmp_path / "alone.safetensors", config=qwen_dir / "config.json"))


def test_shards(qwen_dir, folder, weights):
    half = len(weights) // 2
    parts = {"a.safetensors": list(weights)[:half], "b.safetensors": list(weights)[half:]}
    for name, keys in parts.items():
        save_file({key: weights[key] for key in keys}, folder / name)
    index = {"weight_map": {key: name for name, keys in parts.items() for key in keys}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert same_model(load(qwen_dir), load(folder))
    (folder / "b.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"1 of 2 shards missing.*b\.safetensors"):
        load(folder)


def test_several_files_without_index(folder, weights):
    for name in ("a", "b"):
        save_file({"x": weights["lm_head.weight"]}, folder / f"{name}.safetensors")
    with pytest.raises(WeightsError, match="2 safetensors files"):
        load(folder)


def test_missing_unexpected_and_misshapen_keys_by_name(folder, weights):
    broken = dict(weights)
    del broken["model.language_model.norm.weight"]
    broken["model.language_model.layers.9.x"] = torch.zeros(1)
    broken["model.visual.pos_embed.weight"] = torch.zeros(4, 32)
    save_file(broken, folder / "model.safetensors")
    with pytest.raises(WeightsError) as caught:
        load(folder)
    for part in (
        "1 missing: language_model.norm.weight",
        "1 unexpected: language_model.layers.9.x",
        "1 of wrong shape: visual.pos_embed.weight (found [4, 32], expected [16, 32])",
    ):
        assert part in str(caught.value)


def test_a_text_only_model_lacks_the_vision_tower(folder, weights):
    save_file({key: value for key, value in weights.items() if "visual" not in key}, folder / "model.safetensors")
    with pytest.raises(WeightsError, match=r"\d+ missing: visual\."):
        load(folder)


def test_a_file_of_another_size_without_config(qwen_dir, tmp_path):
    shutil.copy(qwen_dir / "model.safetensors", tmp_path / "alone.safetensors")
    with pytest.raises(WeightsError, match=r"of wrong shape.*put the config\.json"):
        load(tmp_path / "alone.safetensors")


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "qwen3", "umt5", None])
def test_folder_of_another_model(folder, kind):
    (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    save_file({"x": torch.zeros(1)}, folder / "model.safetensors")
    with pytest.raises(WeightsError, match=f"type {kind!r}"):
        load(folder)


def test_folder_without_config(qwen_dir, tmp_path):
    shutil.copy(qwen_dir / "model.safetensors", tmp_path)
    with pytest.raises(WeightsError, match=r"no config\.json"):
        load(tmp_path)


def test_quantised_file(folder, weights):
    save_file({**weights, "model.language_model.norm.weight_scale": torch.ones(1)}, folder / "model.safetensors")
    with pytest.raises(WeightsError, match="quantised model"):
        load(folder)


def test_another_model_is_told_what_it_is(folder, golden_dir):
    with pytest.raises(WeightsError, match=r"a LoomVideo DiT.*expected Qwen3-VL.*give Qwen3-VL-8B-Instruct"):
        load(golden_dir / "models" / "tiny" / "gen_model.safetensors", config=folder / "config.json")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("visual.merger.ln_q.weight", r"a Qwen2\.5-VL or Qwen2-VL"),
        ("encoder.block.0.layer.0.SelfAttention.q.weight", "a UMT5 text encoder"),
        ("image.synthesis", "a linear codec"),
        ("thing", "no model known here.*thing"),
    ],
)
def test_any_other_file_is_told_what_it_is(folder, name, found):
    """Whatever lies beside it."""
    path = folder / "qwen.safetensors"
    save_file({name: torch.zeros(2, 2)}, path)
    for beside in ("{}", json.dumps(QWEN3_VL_8B)) if name != "thing" else (json.dumps(QWEN3_VL_8B),):
        (folder / "config.json").write_text(beside)
        with pytest.raises(WeightsError, match=f"which is {found}.*expected Qwen3-VL"):
            open_qwen(path)


def test_one_weight_under_two_names(folder, weights):
    twice = {**weights, "visual.pos_embed.weight": weights["model.visual.pos_embed.weight"].clone()}
    save_file(twice, folder / "model.safetensors")
    with pytest.raises(WeightsError, match=r"'visual\.pos_embed\.weight', two names of the same weight"):
        load(folder)


def test_nan_is_refused(folder, weights):
    broken = {name: tensor.clone() for name, tensor in weights.items()}
    broken["model.language_model.norm.weight"][1] = torch.nan
    save_file(broken, folder / "model.safetensors")
    with pytest.raises(WeightsError, match=r"'model\.language_model\.norm\.weight' has 1 NaN"):
        load(folder)


def test_weights_are_mapped_not_copied(qwen_dir, weights):
    """Weights that need no cast keep the file's own storage, so loading takes no second copy of it."""
    model = load_qwen(qwen_dir, dtype=weights["model.language_model.norm.weight"].dtype, device=CPU)
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("needs /proc to see what is mapped")
    address = model.language_model.layers[0].mlp.up_proj.weight.data_ptr()
    mapped = [line.split() for line in maps.read_text().splitlines() if str(qwen_dir) in line]
    ranges = [[int(end, 16) for end in line[0].split("-")] for line in mapped]
    assert any(start <= address < end for start, end in ranges)


def test_damaged_and_absent_files(folder):
    with pytest.raises(WeightsError, match="no weights in the folder"):
        load(folder)
    (folder / "model.safetensors").write_bytes(b"\x10" * 40)
    with pytest.raises(WeightsError, match="is no checkpoint"):
        load(folder)
    with pytest.raises(WeightsError, match="no file"):
        load(folder / "nowhere")
    (folder / "model.bin").touch()
    with pytest.raises(WeightsError, match=r"model\.bin, an empty file"):
        load(folder / "model.bin")


def test_the_8b_on_the_meta_device_has_the_published_size():
    model = build_empty(QWEN3_VL_8B)
    assert len(model.language_model.layers) == 36
    assert model.language_model.rotary_emb.inv_freq.shape == (64,)
    head = 151936 * 4096
    assert 2 * (head + sum(weight.numel() for weight in model.parameters())) == 17_534_247_392  # bytes in bf16


def test_model_key():
    assert model_key("lm_head.weight") is None
    assert model_key("model.lm_head.weight") is None
    assert model_key("other.weight") == "other.weight"


def test_transformers_missing(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"transformers>=4\.57"):
        loading._import_qwen()
