"""An official .pth is converted once, safely, and found again; where it cannot be, it is loaded itself."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder that the host looks for diffusion models in, with an official file and its configuration."""
    import folder_paths

    made = tmp_path / "diffusion_models"
    made.mkdir()
    extensions = folder_paths.folder_names_and_paths["diffusion_models"][1]
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "diffusion_models", ([str(made)], extensions))
    folder_paths.filename_list_cache.pop("diffusion_models", None)
    return made


@pytest.fixture
def official(folder, golden_dir):
    """The official layout in small, with mixed number formats; its heads are too narrow to be known without a file."""
    shutil.copy(golden_dir / "weights" / "gen_model_mixed_dtype.pth", folder / "gen_model.pth")
    about = json.loads((golden_dir / "weights" / "load_check.json").read_text())
    (folder / "config.json").write_text(json.dumps({"dit": about["dit_config"], "und_dim": about["und_dim"]}))
    return folder / "gen_model.pth"


@pytest.fixture
def node(part):
    def execute(name="gen_model.pth", **options):
        loader = part("nodes.loaders").LoomVideoModelLoader
        return loader.execute(model_name=name, weight_dtype="fp32", **options).args[0]

    return execute


@pytest.fixture
def told(part, monkeypatch):
    """The lines that are shown on the node."""
    lines = []
    monkeypatch.setattr(part("nodes.adapter.progress"), "_send_text", lambda text, node_id: lines.append(text))
    return lines


def weights(model):
    return {name: tensor.float() for name, tensor in model.model.diffusion_model.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_converted_once_and_found_again(part, node, official, told, monkeypatch):
    first = node()
    target = official.with_suffix(".safetensors")
    stamp = target.stat().st_mtime_ns
    assert any("converting gen_model.pth, once: " in line for line in told)
    assert official.exists() and sorted(path.name for path in official.parent.iterdir()) == [
        "config.json", "gen_model.pth", "gen_model.safetensors",
    ]  # fmt: skip
    assert first.cached_patcher_init[1][0] == str(target)
    monkeypatch.setattr(part("nodes.adapter.model.conversion"), "convert_checkpoint", None)  # would fail if called
    assert same(weights(node()), weights(first))
    assert same(weights(node(convert_official=False)), weights(first))
    assert same(weights(node("gen_model.safetensors")), weights(first))
    assert target.stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("gen_model.pth", "latest"),
        ("gen_model_mixed_dtype.pth", "latest"),
        ("full_model.pt", "full_file"),
        ("ckpt/ema/ema.pth", "ema"),
    ],
)
def test_every_official_layout_equals_the_official_loader(node, folder, golden_dir, official, file, kind):
    shutil.copy(golden_dir / "weights" / file, official)
    recorded = load_file(golden_dir / "weights" / "load_check.safetensors")
    dit = node().model.diffusion_model
    states = torch.cat([recorded[f"und_hidden.{index}"] for index in (1, 2)], dim=-1)  # of three layers the last two
    velocity = dit(
        recorded["latents"],
        recorded["timestep"],
        mllm_states=states,
        source_latent=recorded["source_latents"],
        ref_latents=[recorded["ref_latents.0"]],
        ref_indices=(-10,),
    )
    torch.testing.assert_close(velocity, recorded[f"velocity.{kind}"], atol=2e-5, rtol=1e-5)


def test_not_converted_if_not_wanted(node, official):
    direct = node(convert_official=False)
    assert not official.with_suffix(".safetensors").exists()
    assert same(weights(direct), weights(node()))


def test_a_file_that_only_has_the_name_is_left_alone(node, official, told, caplog):
    target = official.with_suffix(".safetensors")
    other = {name: tensor + 1 for name, tensor in torch.load(official, weights_only=True).items()}
    save_file({name: tensor.contiguous() for name, tensor in other.items()}, target)
    before = target.read_bytes()
    direct = node()
    assert target.read_bytes() == before
    assert direct.cached_patcher_init[1][0] == str(official)
    assert any("gen_model.safetensors is no conversion of gen_model.pth" in line for line in told)
    assert "rename either" in caplog.text


def test_a_damaged_conversion_is_not_trusted(node, official, caplog):
    node()
    target = official.with_suffix(".safetensors")
    target.write_bytes(target.read_bytes()[:-100])
    assert node().cached_patcher_init[1][0] == str(official)
    assert "damaged or cut short" in caplog.text


@pytest.mark.parametrize("error", ["OutputError", "ResourceError"])
def test_where_it_cannot_be_written_it_is_loaded_itself(part, node, official, told, monkeypatch, error):
    def refuse(*args, **kwargs):
        raise getattr(part("loom_core.errors"), error)("no room", fix="make some")

    monkeypatch.setattr(part("nodes.adapter.model.conversion"), "convert_checkpoint", refuse)
    assert node().cached_patcher_init[1][0] == str(official)
    assert any("cannot be converted and is loaded itself (found no room" in line for line in told)


def test_a_cancelled_prompt_stops_it_and_leaves_nothing(node, official):
    from comfy import model_management

    model_management.interrupt_current_processing(True)
    with pytest.raises(model_management.InterruptProcessingException):
        node()
    assert sorted(path.name for path in official.parent.iterdir()) == ["config.json", "gen_model.pth"]
    node()  # the next prompt is fine


def test_what_is_no_dit_is_refused_before_anything_is_written(part, node, folder):
    torch.save({"decoder.x": torch.zeros(1)}, folder / "gen_model.pth")
    with pytest.raises(part("loom_core.errors").WeightsError, match="no model known here"):
        node()
    assert [path.name for path in folder.iterdir()] == ["gen_model.pth"]


def test_the_list_offers_the_built_in_model_and_what_is_there(part, folder, official):
    for name in ("a.sft", "b.gguf", "c.pt"):
        (folder / name).touch()
    schema = part("nodes.loaders").LoomVideoModelLoader.define_schema()
    assert schema.inputs[0].options == ["built-in: loom-tiny", "a.sft", "c.pt", "gen_model.pth"]
