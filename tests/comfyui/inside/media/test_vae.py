"""The VAE loader: the built-in codec as the host's VAE, files, and what is refused."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file


@pytest.fixture
def vae_module(part):
    return part("nodes.adapter.media.vae")


@pytest.fixture
def raw(part):
    """Latents of the codec as the host's Wan 2.2 VAE would give them."""
    from comfy.latent_formats import Wan22

    return Wan22().process_out


@pytest.mark.parametrize("frames", [1, 9])
def test_latents_normalised_by_the_host_are_the_codecs(built_in, codec, picture, frames):
    from comfy.latent_formats import Wan22

    images = picture(frames)
    latents = Wan22().process_in(built_in.encode(images))
    expected = codec.encode(images.movedim(-1, 0)[None] * 2 - 1)
    torch.testing.assert_close(latents, expected, atol=1e-5, rtol=0)


def test_decoding_is_the_codecs(built_in, codec, raw):
    latents = torch.randn(2, 48, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    images = built_in.decode(raw(latents))
    assert images.shape == (2, 9, 64, 96, 3)
    expected = (codec.decode(latents).movedim(1, -1) + 1) / 2
    torch.testing.assert_close(images, expected, atol=1e-5, rtol=0)


def test_the_hosts_own_nodes_work_with_it(built_in, picture):
    import nodes

    images = picture(9, 128, 192)
    (latent,) = nodes.VAEEncode().encode(built_in, images)
    assert latent["samples"].shape == (1, 48, 3, 8, 12)
    (back,) = nodes.VAEDecode().decode(built_in, latent)
    assert back.shape == images.shape
    assert (back - images).abs().mean() < 0.05
    (tiled,) = nodes.VAEDecodeTiled().decode(built_in, latent, 64, 32, 8, 4)
    assert tiled.shape == images.shape
    assert (tiled - back).abs().mean() < 0.02
    (again,) = nodes.VAEEncodeTiled().encode(built_in, images, 64, 32, 8, 4)
    torch.testing.assert_close(again["samples"][:, :, :1], latent["samples"][:, :, :1], atol=1e-4, rtol=0)


def test_geometry_and_size_are_those_of_wan_22(built_in, wan):
    assert built_in.spacial_compression_encode() == built_in.spacial_compression_decode() == 16
    assert built_in.temporal_compression_decode() == 4
    assert built_in.downscale_ratio[0](121) == 31
    assert built_in.upscale_ratio[0](31) == 121
    assert [built_in.upscale_ratio[0](frames) for frames in range(4)] == [0, 1, 5, 9]


def test_memory_is_the_hosts_business(built_in, picture):
    """Loaded when it works, unloaded when the host says so, usable after; small."""
    from comfy import model_management

    built_in.encode(picture())
    assert built_in.patcher in [loaded.model for loaded in model_management.current_loaded_models]
    model_management.unload_all_models()
    assert model_management.current_loaded_models == []
    assert built_in.decode(built_in.encode(picture())).shape == (1, 1, 64, 96, 3)
    assert 1e6 < built_in.model_size() < 2e7
    assert built_in.memory_used_encode((1, 3, 121, 480, 832), torch.float32) >= 121 * 480 * 832 * 3 * 4
    assert built_in.memory_used_decode((1, 48, 31, 30, 52), torch.float32) >= 121 * 480 * 832 * 3 * 4


def test_a_copy_for_another_device_has_weights_of_its_own(built_in):
    copy = built_in.patcher.deepclone_multigpu(torch.device("cpu"))
    mine, its = built_in.first_stage_model.state_dict(), copy.model.state_dict()
    assert set(mine) == set(its)
    assert all(torch.equal(mine[key], its[key]) and mine[key].data_ptr() != its[key].data_ptr() for key in mine)


@pytest.mark.parametrize("flag", ["fp16_vae", "bf16_vae"])
def test_flags_of_precision_do_not_reach_it(vae_module, codec, picture, flag, monkeypatch):
    from comfy.cli_args import args

    monkeypatch.setattr(args, flag, True)
    vae = vae_module.load_vae("built-in: loom-tiny")
    images = picture()
    from comfy.latent_formats import Wan22

    expected = codec.encode(images.movedim(-1, 0)[None] * 2 - 1)
    torch.testing.assert_close(Wan22().process_in(vae.encode(images)), expected, atol=1e-5, rtol=0)


def test_frames_that_do_not_fit_are_refused_by_the_hosts_node(built_in, picture, errors):
    import nodes

    with pytest.raises(errors.ConfigError, match="found 6 frames; expected"):
        nodes.VAEEncode().encode(built_in, picture(6))


@pytest.mark.parametrize("step", ["encode", "decode"])
def test_cancel_stops_between_latent_frames(built_in, picture, cancel, step):
    from comfy import model_management

    latents, done = built_in.encode(picture(41)), []
    watched = getattr(built_in.first_stage_model, f"{step}r")
    watched.register_forward_hook(lambda *_: done.append(0) or (cancel() if len(done) == 3 else None))
    with pytest.raises(model_management.InterruptProcessingException):
        built_in.encode(picture(41)) if step == "encode" else built_in.decode(latents)
    assert len(done) == 3


@pytest.mark.parametrize(
    ("channels", "told"), [(16, "16 channels, as that of Wan 2.1"), (4, "4 channels"), (128, "128 channels")]
)
def test_other_channels_are_one_sentence(vae_module, built_in, errors, channels, told):
    built_in.latent_channels = channels
    with pytest.raises(errors.WeightsError, match=rf"{told}.*48 channels.*wan2\.2_vae\.safetensors"):
        vae_module.check_vae(built_in)


def test_another_geometry_is_one_sentence(vae_module, built_in, errors):
    built_in.downscale_index_formula = (8, 16, 16)
    with pytest.raises(errors.WeightsError, match=r"another geometry.*wan2\.2_vae\.safetensors"):
        vae_module.check_vae(built_in)


def test_no_vae_at_all_is_one_sentence(vae_module, built_in, errors):
    built_in.first_stage_model = None
    for vae in (built_in, None):
        with pytest.raises(errors.WeightsError, match=r"without a VAE.*wan2\.2_vae\.safetensors"):
            vae_module.check_vae(vae)


def wan_shapes(channels):
    """What tells a Wan VAE of the original naming by its header."""
    return {
        "encoder.conv1.weight": torch.zeros(8, 12, 3, 3, 3),
        "decoder.conv1.weight": torch.zeros(8, channels, 3, 3, 3),
        "conv2.weight": torch.zeros(channels, channels, 1, 1, 1),
        "decoder.middle.0.residual.0.gamma": torch.zeros(8),
    }


@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        (wan_shapes(16), "a Wan 2.1 VAE"),
        ({"blocks.0.self_attn.q.weight": torch.zeros(4, 4)}, "another Wan DiT"),
        ({"a.lora_A.weight": torch.zeros(4, 4)}, "a LoRA"),
    ],
)
def test_files_of_another_kind_are_told_by_their_header(vae_module, errors, tmp_path, monkeypatch, tensors, told):
    from comfy import utils

    monkeypatch.setattr(utils, "load_torch_file", None)  # nothing is read
    path = tmp_path / "other.safetensors"
    save_file(tensors, path)
    with pytest.raises(errors.WeightsError, match=rf"other\.safetensors, which is {told}.*wan2\.2_vae\.safetensors"):
        vae_module.load_vae_file(path)


def test_a_file_that_the_host_does_not_know_is_one_sentence(vae_module, errors, tmp_path):
    path = tmp_path / "odd.safetensors"
    save_file({"something": torch.zeros(3)}, path)
    with pytest.raises(errors.WeightsError, match=r"odd\.safetensors without a VAE.*wan2\.2_vae\.safetensors"):
        vae_module.load_vae_file(path)


def test_a_codec_file_of_our_own_is_loaded_from_the_folder(vae_module, codec_path, built_in, picture):
    vae = vae_module.load_vae_file(codec_path)
    assert torch.equal(vae.encode(picture()), built_in.encode(picture()))


@pytest.fixture
def small_host_vae(monkeypatch):
    """Makes the host build its Wan 2.2 VAE small, since the real one has 0.7 G weights; gives weights for it."""
    from comfy.ldm.wan import vae2_2

    whole = vae2_2.WanVAE
    monkeypatch.setattr(vae2_2, "WanVAE", lambda **kwargs: whole(**{**kwargs, "dim": 8, "dec_dim": 8}))
    model = vae2_2.WanVAE(z_dim=48, dim_mult=[1, 2, 4, 4], num_res_blocks=2, temperal_downsample=[False, True, True])
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(value.shape, generator=generator) * 0.1 for name, value in model.state_dict().items()}


@pytest.mark.parametrize("naming", ["original", "diffusers", "checkpoint"])
def test_a_wan_22_file_of_any_naming_is_loaded(vae_module, part, tmp_path, small_host_vae, naming, picture):
    keys = part("loom_core.vae.wan_keys")
    names = {
        "original": lambda key: key,
        "diffusers": lambda key: keys.rename(key, keys.ORIGINAL_TO_DIFFUSERS),
        "checkpoint": lambda key: f"vae.{key}",
    }[naming]
    path = tmp_path / "wan2.2_vae.safetensors"
    save_file({names(key): value for key, value in small_host_vae.items()}, path)
    vae = vae_module.load_vae_file(path)
    assert vae.encode(picture(5)).shape == (1, 48, 2, 4, 6)
    loaded = vae.first_stage_model.state_dict()
    assert all(torch.allclose(loaded[key].float(), value, atol=1e-2) for key, value in small_host_vae.items())
    clone = vae.patcher.deepclone_multigpu(torch.device("cpu"))
    assert set(clone.model.state_dict()) == set(loaded)


def test_a_wan_22_file_that_lacks_weights_is_refused(vae_module, errors, tmp_path, small_host_vae):
    path = tmp_path / "cut.safetensors"
    small_host_vae.pop("decoder.head.2.weight")
    save_file(small_host_vae, path)
    with pytest.raises(errors.WeightsError, match=r"cut\.safetensors without 1 weights, decoder\.head\.2\.weight"):
        vae_module.load_vae_file(path)


def test_a_wan_22_file_of_other_sizes_is_refused(vae_module, errors, tmp_path, small_host_vae):
    path = tmp_path / "wide.safetensors"
    small_host_vae["decoder.head.2.weight"] = torch.zeros(12, 16, 3, 3, 3)
    save_file(small_host_vae, path)
    with pytest.raises(errors.WeightsError, match=r"wide\.safetensors, which cannot be loaded"):
        vae_module.load_vae_file(path)


def test_the_node_offers_the_built_in_one_first(part, built_in, picture):
    loader = part("nodes.loaders").LoomVideoVAELoader
    schema = loader.define_schema()
    assert schema.inputs[0].options[0] == "built-in: loom-tiny"
    (vae,) = loader.execute("built-in: loom-tiny").result
    assert torch.equal(vae.encode(picture()), built_in.encode(picture()))
