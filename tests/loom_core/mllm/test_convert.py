"""Qwen3-VL in other number formats: the same model, smaller, with all that lay beside it."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from loom_core.errors import ConfigError, WeightsError
from loom_core.mllm import convert
from loom_core.mllm.convert import convert_qwen
from loom_core.mllm.loading import load_qwen
from loom_core.models.quantised import QuantisedLinear
from loom_core.weights.quantise import SCHEMES
from loom_core.weights.reading import open_checkpoint

pytest.importorskip("transformers", reason="Qwen3-VL comes from transformers")

CPU = torch.device("cpu")


def load(path, **more):
    return load_qwen(path, dtype=torch.float32, device=CPU, **more)


def test_a_folder_becomes_a_folder_with_all_but_the_head(qwen_dir, tmp_path):
    report = convert_qwen(qwen_dir, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {path.name for path in qwen_dir.iterdir()}
    before, after = load_file(qwen_dir / "model.safetensors"), load_file(report.target)
    assert set(before) - set(after) == set(report.dropped) == {name for name in before if "lm_head" in name}
    assert all(torch.equal(before[name], tensor) for name, tensor in after.items())


def test_a_file_becomes_a_file(qwen_dir, tmp_path):
    target = tmp_path / "qwen.safetensors"
    convert_qwen(qwen_dir / "model.safetensors", target, dtype=torch.float32)
    assert set(open_checkpoint(target).dtypes) == {torch.float32}
    assert [path.name for path in tmp_path.iterdir()] == ["qwen.safetensors"]


@pytest.mark.parametrize(("name", "limit"), [("fp8", 0.12), ("int8", 0.03)])
def test_layers_and_vision_tower_stay_quantised_in_memory(qwen_dir, tmp_path, name, limit):
    report = convert_qwen(qwen_dir, tmp_path / "out", scheme=SCHEMES[name])
    made, exact = load(tmp_path / "out"), load(qwen_dir)
    layers = {name: layer for name, layer in made.named_modules() if isinstance(layer, QuantisedLinear)}
    text, vision = made.config.text_config, made.config.vision_config
    mergers = 1 + len(vision.deepstack_visual_indexes)
    assert len(layers) == 7 * text.num_hidden_layers + 4 * vision.depth + 2 * mergers
    assert {layer.weight.element_size() for layer in layers.values()} == {1}
    assert report.num_tensors == len(open_checkpoint(report.target))
    ids = torch.arange(40).reshape(1, 40)
    with torch.no_grad():
        states, wanted = (model.language_model(input_ids=ids).last_hidden_state for model in (made, exact))
    error = float((states - wanted).norm() / wanted.norm())
    assert 1e-4 < error < limit


def test_what_is_there_is_not_touched(qwen_dir, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model.safetensors").write_text("mine")
    with pytest.raises(ConfigError, match=r"with model\.safetensors.*--overwrite"):
        convert_qwen(qwen_dir, tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").read_text() == "mine"
    convert_qwen(qwen_dir, tmp_path / "out", overwrite=True)
    assert load(tmp_path / "out").config.text_config.num_hidden_layers > 0
    (tmp_path / "out" / "other.gguf").write_text("mine")
    with pytest.raises(ConfigError, match=r"other\.gguf"):
        convert_qwen(qwen_dir, tmp_path / "out", overwrite=True)
    with pytest.raises(ConfigError, match="a free name"):
        convert_qwen(qwen_dir, tmp_path / "nowhere" / "out")


def test_a_failure_leaves_no_folder(qwen_dir, tmp_path, monkeypatch):
    def full(*_args, **_more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(convert.shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space"):
        convert_qwen(qwen_dir, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_wrong_models_are_refused(qwen_dir, golden_dir, tmp_path):
    folder = tmp_path / "in"
    shutil.copytree(qwen_dir, folder)
    weights = load_file(folder / "model.safetensors")
    del weights["model.language_model.norm.weight"]
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(WeightsError, match=r"1 missing: language_model\.norm\.weight"):
        convert_qwen(folder, tmp_path / "out")
    with pytest.raises(WeightsError, match="a LoomVideo DiT"):
        convert_qwen(golden_dir / "models/tiny", tmp_path / "out")
    convert_qwen(qwen_dir, tmp_path / "fp8", scheme=SCHEMES["fp8"])
    with pytest.raises(WeightsError, match=r"quantised already \(float8_e4m3fn\)"):
        convert_qwen(tmp_path / "fp8", tmp_path / "out", scheme=SCHEMES["int8"])
    assert not (tmp_path / "out").exists()


def test_the_metadata_says_where_it_comes_from(qwen_dir, tmp_path):
    report = convert_qwen(qwen_dir, tmp_path / "out", scheme=SCHEMES["int8"])
    metadata = open_checkpoint(report.target).metadata
    assert metadata["content_sha256"] == report.content_sha256
    assert metadata["source_name"] == "model.safetensors"
    assert "int8" in metadata["dtype"]
    config = json.loads((report.target.parent / "config.json").read_text())
    assert config["model_type"] == "qwen3_vl"


@pytest.mark.parametrize(("name", "limit"), [("gguf-q8_0", 0.03), ("gguf-q4_0", 0.5)])
def test_gguf_with_the_vision_tower(qwen_dir, tmp_path, name, limit):
    pytest.importorskip("gguf")
    report = convert_qwen(qwen_dir, tmp_path / "out", scheme=SCHEMES[name])
    assert report.target.name == "model.gguf"
    made, exact = load(tmp_path / "out"), load(qwen_dir)
    layers = [layer for layer in made.visual.modules() if isinstance(layer, QuantisedLinear)]
    assert layers and {layer.weight.dtype for layer in layers} == {torch.uint8}
    ids = torch.arange(40).reshape(1, 40)
    with torch.no_grad():
        states, wanted = (model.language_model(input_ids=ids).last_hidden_state for model in (made, exact))
    assert 1e-4 < float((states - wanted).norm() / wanted.norm()) < limit
