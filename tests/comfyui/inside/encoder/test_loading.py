"""The loader: what it offers, what it loads, and what it refuses before anything large is read."""

from __future__ import annotations

import json
import shutil

import pytest
import torch


@pytest.fixture
def models(tmp_path, monkeypatch):
    """The host's folder of models, empty."""
    import folder_paths

    root = tmp_path / "models"
    (root / "text_encoders").mkdir(parents=True)
    folders = {name: value for name, value in folder_paths.folder_names_and_paths.items() if name != "text_encoders"}
    folders["text_encoders"] = ([str(root / "text_encoders"), str(root / "clip")], {".safetensors"})
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", folders)
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    monkeypatch.setattr(folder_paths, "models_dir", str(root))
    return root


@pytest.fixture
def files(part):
    return part("nodes.adapter.encoder.files")


@pytest.fixture
def refuse(part, loading):
    """The sentence with which a choice is refused."""

    def run(name):
        with pytest.raises(part("loom_core.errors").WeightsError) as raised:
            loading.load_encoder(name)
        return str(raised.value)

    return run


@pytest.fixture
def unread(monkeypatch):
    """Fails if the host reads weights."""
    import comfy.utils

    def fail(*args, **_):
        raise AssertionError(f"read {args}")

    monkeypatch.setattr(comfy.utils, "load_torch_file", fail)


def test_what_is_offered(models, files, golden_folder):
    encoders = models / "text_encoders"
    shutil.copytree(golden_folder, encoders / "qwen" / "Qwen3-VL")
    shutil.copytree(golden_folder, models / "LLM" / "Qwen-VL" / "Other")
    (encoders / ".hidden").mkdir()
    shutil.copy(golden_folder / "config.json", encoders / ".hidden")
    snapshot = encoders / "models--Qwen--Qwen3-VL" / "snapshots" / "0ebed21"
    shutil.copytree(golden_folder, snapshot)
    for name, config in (("qwen2", {"model_type": "qwen2_5_vl"}), ("odd", []), ("broken", None)):
        (encoders / name).mkdir()
        (encoders / name / "config.json").write_text("{" if config is None else json.dumps(config))
    shutil.copy(golden_folder / "model.safetensors", encoders / "single.safetensors")
    shutil.copy(golden_folder / "model.safetensors", encoders / "qwen2" / "part.safetensors")
    assert files.offered_encoders() == [
        "built-in: loom-tiny",
        "LLM/Qwen-VL/Other/",
        "models--Qwen--Qwen3-VL/snapshots/0ebed21/",
        "qwen/Qwen3-VL/",
        "qwen2/part.safetensors",
        "single.safetensors",
    ]


def test_places_that_other_packs_register(models, files, golden_folder, tmp_path, monkeypatch):
    import folder_paths

    shutil.copytree(golden_folder, tmp_path / "elsewhere" / "Qwen")
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "LLM", ([str(tmp_path / "elsewhere")], set()))
    assert files.offered_encoders()[1:] == ["LLM/Qwen/"]
    assert files.encoder_path("LLM/Qwen/") == tmp_path / "elsewhere" / "Qwen"


def test_a_place_under_two_names(models, files, golden_folder):
    """As where capitals do not matter in names of files."""
    shutil.copytree(golden_folder, models / "LLM" / "Qwen")
    (models / "llm").symlink_to(models / "LLM")
    assert files.offered_encoders()[1:] == ["LLM/Qwen/"]


def test_nothing_there(models, files):
    shutil.rmtree(models)
    assert files.offered_encoders() == ["built-in: loom-tiny"]


def test_a_choice_that_is_gone_or_leads_elsewhere(models, refuse, tmp_path, golden_folder):
    assert "no file 'gone.safetensors'" in refuse("gone.safetensors")
    assert "no file 'gone/'" in refuse("gone/")
    assert "no file" in refuse(f"../../{golden_folder.name}/")
    assert "no file" in refuse(f"../../{golden_folder.name}/model.safetensors")


def test_the_built_in_one(part, loading, read, request_of, types):
    clip = loading.load_encoder("built-in: loom-tiny")
    pairing = clip.cond_stage_model.loom_pairing
    config = part("loom_core.bundle").find_model().dit_config()
    assert (pairing.num_blocks, pairing.rope_precision) == (config.num_layers, config.rope_precision)
    states = read(clip, request_of()).states
    assert set(states) == {types.Branch.FULL, types.Branch.UNCONDITIONAL}
    assert all(found.shape[2] == config.num_layers * config.mllm_dim for found in states.values())


def test_a_folder_in_shards_is_that_in_one_file(models, loading, shaped_folder, tmp_path, read, edit_of):
    from safetensors.torch import load_file, save_file

    whole = tmp_path / "whole"
    whole.mkdir()
    weights = {}
    for shard in shaped_folder.glob("*.safetensors"):
        weights |= load_file(shard)
    save_file(weights, whole / "model.safetensors")
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(shaped_folder / name, whole / name)
    shutil.copytree(shaped_folder, models / "text_encoders" / "shards")
    found, expected = (read(clip, edit_of()) for clip in (loading.load_encoder("shards/"), loading.load_path(whole)))
    for branch, states in expected.states.items():
        assert torch.equal(found.states[branch], states)


NAMINGS = (
    {},
    {"model.language_model.": "model.", "model.visual.": "visual."},
    {"model.language_model.": "language_model.", "model.visual.": "visual."},
    {"model.language_model.": "model."},
)


@pytest.mark.parametrize("rows", NAMINGS)
def test_the_released_one_by_any_naming(models, loading, load_clip, small_8b_folder, read, edit_of, rows):
    """From our loader as from the host's, which knows the names of the model hub alone."""
    from safetensors.torch import load_file, save_file

    weights = {}
    for name, value in load_file(small_8b_folder / "model.safetensors").items():
        old, new = next((pair for pair in rows.items() if name.startswith(pair[0])), ("", ""))
        weights[new + name.removeprefix(old)] = value
    save_file(weights, models / "text_encoders" / "qwen3vl.safetensors")
    clip = loading.load_encoder("qwen3vl.safetensors")
    assert clip.cond_stage_model.clip_name == "qwen3vl_8b"
    found, expected = read(clip, edit_of()), read(load_clip(), edit_of())
    for branch, states in expected.states.items():
        assert torch.equal(found.states[branch], states)


def test_the_released_one_as_a_folder(models, loading, load_clip, small_8b_folder, read, request_of):
    """Its tokenizer is the host's, so the folder needs none."""
    shutil.copytree(small_8b_folder, models / "text_encoders" / "Qwen3-VL-8B-Instruct")
    clip = loading.load_encoder("Qwen3-VL-8B-Instruct/")
    assert clip.cond_stage_model.clip_name == "qwen3vl_8b"
    found, expected = read(clip, request_of()), read(load_clip(), request_of())
    assert all(torch.equal(found.states[branch], states) for branch, states in expected.states.items())


def test_a_config_of_another_model_beside_a_file_does_not_matter(models, loading, load_clip, small_8b_folder):
    shutil.copy(small_8b_folder / "model.safetensors", models / "text_encoders" / "qwen3vl.safetensors")
    (models / "text_encoders" / "config.json").write_text('{"model_type": "umt5"}')
    assert loading.load_encoder("qwen3vl.safetensors")


def scaled_to_fp8(weights):
    """Every layer's matrices as ComfyUI's `fp8_scaled` files have them, and what they stand for."""
    scaled, meant = {"scaled_fp8": torch.zeros(2, dtype=torch.float8_e4m3fn)}, {}
    for name, value in weights.items():
        scaled[name] = meant[name] = value
        if ".layers." in name and value.ndim == 2:
            scale = value.abs().max() / 448
            scaled[name] = (value / scale).to(torch.float8_e4m3fn)
            scaled[name.removesuffix("weight") + "scale_weight"] = scale
            meant[name] = scaled[name].float() * scale
    return scaled, meant


@pytest.mark.parametrize("is_released", [True, False])
def test_scaled_fp8(
    models, loading, small_8b_folder, host_knows_small_8b, golden_folder, read, edit_of, tmp_path, is_released
):
    from safetensors.torch import load_file, save_file

    original = small_8b_folder if is_released else golden_folder
    weights = {name: value.float() for name, value in load_file(original / "model.safetensors").items()}
    clips = []
    for name, content in zip(("scaled", "meant"), scaled_to_fp8(weights), strict=True):
        folder = models / "text_encoders" / name
        shutil.copytree(original, folder)
        save_file(content, folder / "model.safetensors")
        clips.append(loading.load_encoder(f"{name}/"))
    assert any(weight.dtype == torch.float8_e4m3fn for weight in clips[0].cond_stage_model.state_dict().values())
    found, expected = (read(clip, edit_of()).states for clip in clips)
    for branch, states in expected.items():
        error = (found[branch].float() - states.float()).square().mean().sqrt() / states.float().std()
        assert float(error) < 0.01


# What is refused


def test_other_models(models, refuse, unread, golden_dir):
    from safetensors.torch import save_file

    encoders = models / "text_encoders"
    shutil.copy(golden_dir / "models" / "tiny" / "gen_model.safetensors", encoders / "dit.safetensors")
    save_file({"encoder.block.0.layer.0.SelfAttention.q.weight": torch.zeros(2)}, encoders / "t5.safetensors")
    save_file({"visual.merger.ln_q.weight": torch.zeros(2)}, encoders / "qwen_2.5_vl_7b.safetensors")
    for name, found in (("dit", "a LoomVideo DiT"), ("t5", "UMT5"), ("qwen_2.5_vl_7b", "Qwen2.5-VL")):
        message = refuse(f"{name}.safetensors")
        assert found in message
        assert "expected Qwen3-VL with its vision part" in message


def test_no_vision_part(models, refuse, unread, golden_folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(golden_folder / "model.safetensors")
    text = {name: value for name, value in weights.items() if "visual" not in name}
    save_file(text, models / "text_encoders" / "qwen_3_8b.safetensors")
    assert "without a vision part" in refuse("qwen_3_8b.safetensors")


def test_another_size(models, refuse, unread, golden_folder, golden_dir):
    shutil.copy(golden_folder / "model.safetensors", models / "text_encoders" / "small.safetensors")
    shutil.copytree(golden_dir / "models" / "tiny" / "qwen", models / "text_encoders" / "small")
    for name in ("small.safetensors", "small/"):
        message = refuse(name)
        assert "5 layers of width 64" in message
        assert "36 layers of width 4096" in message


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "pointer"])
def test_damaged_files(models, refuse, unread, golden_folder, damage):
    data = (golden_folder / "model.safetensors").read_bytes()
    content = {
        "cut": data[: len(data) // 2],
        "empty": b"",
        "text": b"<!DOCTYPE html><html>",
        "pointer": b"version https://git-lfs.github.com/spec/v1\n",
    }
    (models / "text_encoders" / "qwen.safetensors").write_bytes(content[damage])
    assert "qwen.safetensors" in refuse("qwen.safetensors")


def test_a_folder_with_a_shard_missing(models, refuse, unread, shaped_folder):
    folder = models / "text_encoders" / "shards"
    shutil.copytree(shaped_folder, folder)
    lost = sorted(folder.glob("*.safetensors"))[1]
    lost.unlink()
    message = refuse("shards/")
    assert "shards missing" in message
    assert lost.name in message


def test_a_folder_with_weights_missing(models, refuse, unread, golden_folder):
    from safetensors.torch import load_file, save_file

    folder = models / "text_encoders" / "holes"
    shutil.copytree(golden_folder, folder)
    weights = load_file(folder / "model.safetensors")
    del weights["model.visual.blocks.1.attn.proj.weight"]
    save_file(weights, folder / "model.safetensors")
    assert "visual.blocks.1.attn.proj.weight" in refuse("holes/")


def test_a_folder_whose_sizes_do_not_fit(models, refuse, golden_folder):
    folder = models / "text_encoders" / "odd"
    shutil.copytree(golden_folder, folder)
    values = json.loads((folder / "config.json").read_text())
    values["text_config"]["intermediate_size"] = 100
    (folder / "config.json").write_text(json.dumps(values))
    assert "whose weights do not fit" in refuse("odd/")
    del values["text_config"]["rope_scaling"]
    (folder / "config.json").write_text(json.dumps(values))
    assert "do not fit (KeyError: 'rope_scaling')" in refuse("odd/")


@pytest.mark.parametrize("count", [0, 6, "3"])
def test_a_folder_that_names_an_impossible_dit(models, refuse, unread, copy_golden, count):
    folder = copy_golden("impossible", loom_num_blocks=count)
    shutil.copytree(folder, models / "text_encoders" / "impossible")
    assert f"loom_num_blocks {count!r}" in refuse("impossible/")


def test_a_folder_without_its_tokenizer(models, refuse, golden_folder):
    folder = models / "text_encoders" / "mute"
    shutil.copytree(golden_folder, folder)
    for name in ("tokenizer.json", "vocab.json"):
        (folder / name).unlink()
    assert "no tokenizer in" in refuse("mute/")
