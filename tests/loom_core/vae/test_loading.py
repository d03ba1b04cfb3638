import pytest
import torch
from safetensors.torch import save_file

from loom_core.errors import ConfigError, WeightsError
from loom_core.vae.linear import LinearCodec
from loom_core.vae.loading import codec_sizes, load_codec
from loom_core.vae.memory import VaeSizes
from loom_core.vae.wan import WanCodec
from loom_core.vae.wan_loading import load_wan_vae


def test_the_file_tells_the_class(linear_path, wan_folder, wan_weights):
    assert isinstance(load_codec(linear_path), LinearCodec)
    pytest.importorskip("diffusers", reason="the Wan 2.2 VAE is diffusers' (extra `vae`)")
    assert isinstance(load_codec(wan_folder), WanCodec)
    assert isinstance(load_codec(str(wan_weights)), WanCodec)


def test_sizes_are_read_off_the_header(linear_path, wan_folder, wan_weights):
    numbers = sum(tensor.numel() for tensor in LinearCodec.load(linear_path).tensors().values())
    assert codec_sizes(linear_path) == VaeSizes(0, 0, numbers)
    assert codec_sizes(wan_folder) == codec_sizes(wan_weights)
    pytest.importorskip("diffusers", reason="the Wan 2.2 VAE is diffusers' (extra `vae`)")
    model, _ = load_wan_vae(wan_folder, dtype=torch.float32, device="cpu")
    widths = model.config.base_dim, model.config.decoder_base_dim
    assert codec_sizes(wan_folder) == VaeSizes(*widths, sum(weight.numel() for weight in model.parameters()))


def test_dtype_goes_through(linear_path):
    codec = load_codec(linear_path, dtype=torch.bfloat16)
    latents = codec.encode(torch.zeros(1, 3, 1, 16, 16))
    assert latents.dtype is torch.float32
    assert not torch.equal(latents, load_codec(linear_path).encode(torch.zeros(1, 3, 1, 16, 16)))


def test_tiles_go_through_and_default_to_none(wan_folder, linear_path):
    pytest.importorskip("diffusers", reason="the Wan 2.2 VAE is diffusers' (extra `vae`)")
    assert load_codec(wan_folder).tile_latents is None
    assert load_codec(wan_folder, tile_latents=8).tile_latents == 8
    with pytest.raises(ConfigError):
        load_codec(wan_folder, tile_latents=0)
    assert isinstance(load_codec(linear_path, tile_latents=8), LinearCodec)  # needs none


def test_every_codec_can_be_moved_and_takes_tensors_of_any_device(wan_folder, linear_path):
    pytest.importorskip("diffusers", reason="the Wan 2.2 VAE is diffusers' (extra `vae`)")
    for path in (wan_folder, linear_path):
        codec = load_codec(path)
        pixels, latents = torch.zeros(1, 3, 5, 32, 48), torch.zeros(1, 48, 2, 2, 3)
        preview = codec.preview(latents[0])
        assert codec.to("meta") is None
        assert codec.encode(pixels).device.type == "meta"
        assert codec.encode(pixels).shape == latents.shape
        assert codec.decode(latents).device.type == "meta"
        assert codec.decode(latents).shape == pixels.shape
        assert [chunk.device.type for chunk in codec.decode_chunks(latents)] == ["meta", "meta"]
        if isinstance(codec, WanCodec):  # the colours were fitted before it moved
            assert torch.equal(codec.preview(latents[0]), preview)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_on_a_gpu_results_are_there_and_previews_on_the_cpu(wan_folder, linear_path):
    for path in (wan_folder, linear_path):
        codec = load_codec(path)
        pixels, latents = torch.zeros(1, 3, 5, 32, 48), torch.zeros(1, 48, 2, 2, 3)
        expected = codec.preview(latents[0]), codec.decode(latents)
        codec.to("cuda")
        assert codec.encode(pixels).device.type == "cuda"
        torch.testing.assert_close(codec.decode(latents).cpu(), expected[1], atol=1e-2, rtol=0)
        assert torch.equal(codec.preview(latents[0].cuda()), expected[0])  # compares devices too
        codec.to("cpu")
        torch.testing.assert_close(codec.decode(latents.cuda()), expected[1], atol=1e-5, rtol=0)
        assert torch.equal(codec.preview(latents[0].cuda()), expected[0])


def test_every_codec_takes_new_tiles(wan_folder, linear_path):
    pytest.importorskip("diffusers", reason="the Wan 2.2 VAE is diffusers' (extra `vae`)")
    for path in (wan_folder, linear_path):
        codec = load_codec(path)
        codec.tile_latents = 8
        assert codec.tile_latents == 8
        assert codec.decode(torch.zeros(1, 48, 1, 2, 12)).shape == (1, 3, 1, 32, 192)


def test_every_codec_can_be_released(wan_folder, linear_path):
    pytest.importorskip("diffusers", reason="the Wan 2.2 VAE is diffusers' (extra `vae`)")
    for path in (wan_folder, linear_path):
        load_codec(path).release()


def test_a_model_given_as_the_codec_is_refused(golden_dir, tmp_path):
    with pytest.raises(WeightsError, match=r"a LoomVideo DiT.*expected the Wan 2\.2 VAE"):
        load_codec(golden_dir / "models" / "tiny" / "gen_model.safetensors")
    old = tmp_path / "wan_2.1_vae.safetensors"
    save_file({"conv2.weight": torch.zeros(16, 16, 1, 1, 1), "decoder.conv1.bias": torch.zeros(384)}, old)
    with pytest.raises(WeightsError, match=r"Wan 2\.1 VAE .16 latent channels"):
        load_codec(old)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"fc.weight": torch.zeros(1)}, foreign)
    with pytest.raises(WeightsError, match=r"no model known here.*fc\.weight.*or a codec of loom-tiny.*to fix"):
        load_codec(foreign)
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(old.read_bytes()[:40])
    with pytest.raises(WeightsError, match="damaged or cut short"):
        load_codec(damaged)
    with pytest.raises(WeightsError, match="no file"):
        load_codec(tmp_path / "nothing.safetensors")
    with pytest.raises(WeightsError, match=r"config\.json"):
        load_codec(tmp_path)
