import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from loom_core.errors import MissingExtraError, WeightsError
from loom_core.vae.latents import WAN22_STATISTICS
from loom_core.vae.wan_keys import DIFFUSERS_TO_ORIGINAL, rename
from loom_core.vae.wan_loading import load_wan_vae, wan_vae_report

pytest.importorskip("diffusers", reason="the Wan 2.2 VAE is diffusers' (extra `vae`)")


def load(path, **options):
    return load_wan_vae(path, **{"dtype": torch.float32, "device": "cpu", **options})


@pytest.fixture
def original_file(wan_weights, tmp_path):
    """The tiny VAE under the original names, as artists have theirs."""
    path = tmp_path / "wan2.2_vae.safetensors"
    save_file({rename(key, DIFFUSERS_TO_ORIGINAL): value for key, value in load_file(wan_weights).items()}, path)
    return path


def test_folder_gives_weights_and_its_own_statistics(wan_folder):
    model, statistics = load(wan_folder)
    config = json.loads((wan_folder / "config.json").read_text())
    assert list(statistics.mean) == config["latents_mean"]
    assert list(statistics.std) == config["latents_std"]
    assert {value.device.type for value in model.state_dict().values()} == {"cpu"}


def test_every_way_gives_the_same_weights(wan_folder, wan_weights, original_file, tmp_path):
    shutil.copytree(wan_folder, tmp_path / "pipeline" / "vae")
    expected = load(wan_folder)[0].state_dict()
    for path in (wan_weights, original_file, tmp_path / "pipeline"):
        state = load(path)[0].state_dict()
        assert state.keys() == expected.keys()
        assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_original_file_takes_the_released_statistics_even_beside_a_config(wan_folder, original_file):
    shutil.copy(wan_folder / "config.json", original_file.parent)
    assert load(original_file)[1] == WAN22_STATISTICS


def test_dtype(original_file):
    model, _ = load(original_file, dtype=torch.float16)
    assert {value.dtype for value in model.state_dict().values()} == {torch.float16}


def test_weights_are_mapped_not_copied(wan_weights):
    """Weights that need no cast keep the file's own storage, so loading takes no second copy of it."""
    stored = load_file(wan_weights)["decoder.conv_in.weight"].dtype
    model, _ = load(wan_weights, dtype=stored)
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("needs /proc to see what is mapped")
    address = model.decoder.conv_in.weight.data_ptr()
    mapped = [line.split() for line in maps.read_text().splitlines() if wan_weights.name in line]
    ranges = [[int(end, 16) for end in line[0].split("-")] for line in mapped]
    assert any(start <= address < end for start, end in ranges)


def test_sizes_are_read_off_the_shapes(original_file):
    config = load(original_file)[0].config
    assert (config.base_dim, config.decoder_base_dim, config.z_dim, config.in_channels) == (4, 4, 48, 12)


def test_a_report_names_what_differs_without_loading(wan_folder, original_file):
    assert wan_vae_report(wan_folder).fits and wan_vae_report(original_file).fits
    weights = load_file(original_file)
    short = {name: value for name, value in weights.items() if name != "conv1.weight"}
    save_file({**short, "extra.weight": torch.zeros(1)}, original_file)
    report = wan_vae_report(original_file)
    assert (report.missing, report.unexpected) == (("quant_conv.weight",), ("extra.weight",))


@pytest.mark.parametrize("change", ["missing", "unexpected", "of wrong shape"])
def test_wrong_keys_are_named(original_file, change):
    tensors = load_file(original_file)
    name = "decoder.middle.0.residual.2.weight"
    if change == "missing":
        del tensors[name]
    elif change == "unexpected":
        tensors["surplus.weight"] = torch.zeros(1)
    else:
        tensors[name] = tensors[name][:-1].clone()
    save_file(tensors, original_file)
    named = "surplus.weight" if change == "unexpected" else "decoder.mid_block.resnets.0.conv1.weight"
    with pytest.raises(WeightsError, match=f"1 {change}: {named}"):
        load(original_file)


def test_a_prefix_before_the_names_is_taken_off(wan_folder, original_file):
    expected = load(wan_folder)[0].state_dict()
    save_file({f"vae.{name}": value for name, value in load_file(original_file).items()}, original_file)
    state = load(original_file)[0].state_dict()
    assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_the_pickled_file_of_the_original_release(wan_folder, original_file, tmp_path):
    torch.save(load_file(original_file), tmp_path / "Wan2.2_VAE.pth")
    state, expected = load(tmp_path / "Wan2.2_VAE.pth")[0].state_dict(), load(wan_folder)[0].state_dict()
    assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_without_its_latent_layers_it_is_no_codec(original_file):
    tensors = load_file(original_file)
    del tensors["encoder.conv1.weight"]
    save_file(tensors, original_file)
    with pytest.raises(WeightsError, match=r"no encoder\.conv_in\.weight"):
        load(original_file)


def test_nan_is_refused(original_file):
    tensors = load_file(original_file)
    tensors["conv2.bias"][3] = float("nan")
    save_file(tensors, original_file)
    with pytest.raises(WeightsError, match=r"'conv2\.bias' has 1 NaN"):
        load(original_file)


def edited_folder(wan_folder, target, **changes):
    shutil.copytree(wan_folder, target)
    config = {**json.loads((target / "config.json").read_text()), **changes}
    (target / "config.json").write_text(json.dumps(config))
    return target


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"_class_name": "AutoencoderKL"}, "no config.json of an AutoencoderKLWan"),
        ({"z_dim": 16}, "16 latent channels"),
        ({"is_residual": False}, "residual False"),
        ({"latents_std": [1.0] * 16}, "48 and 16 numbers"),
        ({"latents_std": [0.0] * 48}, "above 0"),
    ],
)
def test_a_config_of_another_vae_is_refused(wan_folder, tmp_path, changes, said):
    with pytest.raises(WeightsError, match=said):
        load(edited_folder(wan_folder, tmp_path / "vae", **changes))


def test_folders_that_are_not_complete(wan_folder, tmp_path):
    with pytest.raises(WeightsError, match="no config"):
        load(tmp_path)
    folder = tmp_path / "vae"
    shutil.copytree(wan_folder, folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(WeightsError, match="cannot be read"):
        load(folder)
    shutil.copy(wan_folder / "config.json", folder)
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(WeightsError, match="no weights in the folder"):
        load(folder)


def test_a_linear_codec_is_refused(linear_path):
    with pytest.raises(WeightsError, match="a linear codec"):
        load(linear_path)


def test_without_diffusers_one_clear_sentence(wan_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingExtraError, match=r"'diffusers'.*pip install diffusers"):
        load(wan_folder)
