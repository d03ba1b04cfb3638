"""The three files of a model, from their headers."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from loom_core.bundle import BUILT_IN
from loom_core.config.model import LOOMVIDEO_5B
from loom_core.doctor.files import check_pair, look_at_dit, look_at_encoder, look_at_vae
from loom_core.doctor.finding import Level
from loom_core.mllm.sizes import QwenSizes

DIT, CODEC, MLLM = BUILT_IN / "dit.safetensors", BUILT_IN / "codec.safetensors", BUILT_IN / "mllm"


@pytest.fixture
def saved(tmp_path, small_dit):
    """Writes the small DiT with changes: a name's new tensor, or None to leave it out."""

    def save(**changes):
        from safetensors import safe_open

        with safe_open(small_dit, "pt") as file:
            entries = file.metadata()
        tensors = {**load_file(small_dit), **changes}
        path = tmp_path / "changed.safetensors"
        save_file({name: value for name, value in tensors.items() if value is not None}, path, metadata=entries)
        return path

    return save


def only_error(findings):
    (finding,) = findings
    assert finding.level is Level.ERROR
    return finding


def test_parts_of_the_built_in_model():
    dit, encoder = look_at_dit(DIT), look_at_encoder(MLLM)
    assert (dit.findings[0].level, dit.config.num_layers > 0, dit.form.name) == (Level.NOTE, True, "bf16")
    assert "a LoomVideo DiT" in dit.findings[0].found
    assert (encoder.findings[0].level, encoder.sizes.num_layers) == (Level.NOTE, 6)
    assert encoder.planned.hidden_size == encoder.sizes.hidden_size
    assert [finding.level for finding in look_at_vae(CODEC)] == [Level.NOTE]
    assert check_pair(dit.config, encoder.sizes) == []


def test_a_file_in_the_place_of_another():
    assert "a linear codec" in only_error(look_at_dit(CODEC).findings).sentence
    assert "a LoomVideo DiT" in only_error(look_at_encoder(DIT).findings).sentence
    assert "a LoomVideo DiT" in only_error(look_at_vae(DIT)).sentence
    assert only_error(look_at_vae(DIT)).exit_code == 3


def test_missing_weights_are_named(saved):
    finding = only_error(look_at_dit(saved(**{"blocks.1.ffn.2.bias": None})).findings)
    assert "1 missing: blocks.1.ffn.2.bias" in finding.sentence


def test_a_pickle_with_code_in_it(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("never",))

    torch.save({"blocks.0.self_attn.q.weight": Evil()}, tmp_path / "evil.pth")
    assert "evil.pth" in only_error(look_at_dit(tmp_path / "evil.pth").findings).sentence


def marked(form):
    return torch.tensor(list(json.dumps({"format": form}).encode()), dtype=torch.uint8)


def test_quantised_layers_of_known_forms_pass_and_others_are_for_hosts_that_run_them(saved):
    name = "blocks.0.self_attn.q"
    weight, scale = torch.zeros(48, 48, dtype=torch.float8_e4m3fn), torch.ones(())
    known = saved(
        **{f"{name}.weight": weight, f"{name}.weight_scale": scale, f"{name}.comfy_quant": marked("float8_e4m3fn")}
    )
    for takes_quantised in (False, True):
        look = look_at_dit(known, takes_quantised=takes_quantised)
        assert look.findings[0].level is Level.NOTE and "quantised" in look.findings[0].found
    packed = saved(**{f"{name}.weight": torch.zeros(48, 24, dtype=torch.uint8), f"{name}.comfy_quant": marked("nvfp4")})
    assert look_at_dit(packed, takes_quantised=True).findings[0].level is Level.NOTE
    assert "quantised as nvfp4" in only_error(look_at_dit(packed).findings).sentence


def test_stage_1_cannot_edit(saved):
    stage_1 = saved(**{"source_patch_embedding.weight": None, "source_patch_embedding.bias": None})
    assert [finding.level for finding in look_at_dit(stage_1).findings] == [Level.NOTE]
    levels = [finding.level for finding in look_at_dit(stage_1, is_edit=True).findings]
    assert levels == [Level.NOTE, Level.ERROR]


def test_an_encoder_without_a_part(tmp_path):
    weights = load_file(MLLM / "model.safetensors")
    folder = tmp_path / "mllm"
    shutil.copytree(MLLM, folder)
    name = next(name for name in weights if "layers.2" in name and "q_norm" in name)
    save_file({key: value for key, value in weights.items() if key != name}, folder / "model.safetensors")
    assert "lacks 1 weights" in only_error(look_at_encoder(folder).findings).sentence
    save_file({key: value for key, value in weights.items() if "visual" not in key}, folder / "model.safetensors")
    assert "vision part" in only_error(look_at_encoder(folder).findings).sentence


def test_an_encoder_without_its_tokenizer(tmp_path):
    file = tmp_path / "encoder.safetensors"
    shutil.copy(MLLM / "model.safetensors", file)
    shutil.copy(MLLM / "config.json", tmp_path / "config.json")
    assert "no tokenizer" in only_error(look_at_encoder(file).findings).sentence
    assert look_at_encoder(file, tokenizer=MLLM).findings[0].level is Level.NOTE
    assert look_at_encoder(file, takes_quantised=True).findings[0].level is Level.NOTE  # a host has its own


def test_a_quantised_encoder(tmp_path):
    weights = load_file(MLLM / "model.safetensors")
    name = next(name for name in weights if name.endswith("mlp.up_proj.weight"))
    folder = tmp_path / "mllm"
    shutil.copytree(MLLM, folder)
    half = {name: weights[name].to(torch.float8_e4m3fn), f"{name}_scale": torch.ones(())}
    save_file({**weights, **half}, folder / "model.safetensors")
    assert "1 quantised layers of a form unknown here" in only_error(look_at_encoder(folder).findings).sentence
    assert look_at_encoder(folder, takes_quantised=True).findings[0].level is Level.NOTE


def test_an_encoder_with_the_config_of_another(tmp_path):
    folder = tmp_path / "mllm"
    shutil.copytree(MLLM, folder)
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    values["text_config"]["num_hidden_layers"] += 1
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    finding = only_error(look_at_encoder(folder).findings)
    assert "6 layers" in finding.found and "7 layers" in finding.expected


def test_a_vae_of_other_channels(golden_dir, tmp_path):
    save_file(
        {"decoder.conv1.weight": torch.zeros(8), "conv2.weight": torch.zeros(16, 16, 1, 1, 1)},
        tmp_path / "v.safetensors",
    )
    for by_diffusers in (True, False):
        finding = only_error(look_at_vae(tmp_path / "v.safetensors", by_diffusers=by_diffusers))
        assert "16 latent channels" in finding.found and "48 latent channels" in finding.expected


def test_a_vae_that_lacks_a_weight(golden_dir, tmp_path):
    pytest.importorskip("diffusers", reason="the Wan 2.2 VAE is diffusers' (extra `vae`)")
    whole = golden_dir / "models" / "tiny" / "vae"
    folder = tmp_path / "vae"
    shutil.copytree(whole, folder)
    (file,) = folder.glob("*.safetensors")
    weights = load_file(file)
    save_file({name: value for name, value in weights.items() if name != "post_quant_conv.bias"}, file)
    assert [finding.level for finding in look_at_vae(whole)] == [Level.NOTE]
    assert "1 missing: post_quant_conv.bias" in only_error(look_at_vae(folder)).sentence


def test_pairs():
    assert check_pair(LOOMVIDEO_5B, QwenSizes(36, 4096)) == []
    assert check_pair(None, QwenSizes(1, 1)) == check_pair(LOOMVIDEO_5B, None) == []
    for sizes in (QwenSizes(36, 2560), QwenSizes(28, 4096)):
        assert "with a model of 30 blocks that reads width 4096" in only_error(check_pair(LOOMVIDEO_5B, sizes)).found
