import pytest
import torch
from safetensors.torch import save_file

from loom_core.errors import WeightsError
from loom_core.vae.linear import LinearCodec
from loom_core.vae.loading import load_codec
from loom_core.vae.wan import WanCodec


def test_the_file_tells_the_class(linear_path, wan_folder, wan_weights):
    assert isinstance(load_codec(linear_path), LinearCodec)
    pytest.importorskip("diffusers", reason="the Wan 2.2 VAE is diffusers' (extra `vae`)")
    assert isinstance(load_codec(wan_folder), WanCodec)
    assert isinstance(load_codec(str(wan_weights)), WanCodec)


def test_dtype_goes_through(linear_path):
    codec = load_codec(linear_path, dtype=torch.bfloat16)
    latents = codec.encode(torch.zeros(1, 3, 1, 16, 16))
    assert latents.dtype is torch.float32
    assert not torch.equal(latents, load_codec(linear_path).encode(torch.zeros(1, 3, 1, 16, 16)))


def test_a_model_given_as_the_codec_is_refused(golden_dir, tmp_path):
    with pytest.raises(WeightsError, match=r"diffusion transformer.*Wan 2\.2 VAE"):
        load_codec(golden_dir / "models" / "tiny" / "gen_model.safetensors")
    old = tmp_path / "wan_2.1_vae.safetensors"
    save_file({"conv2.weight": torch.zeros(16, 16, 1, 1, 1), "decoder.conv1.bias": torch.zeros(384)}, old)
    with pytest.raises(WeightsError, match=r"Wan 2\.1 VAE .16 latent channels"):
        load_codec(old)
    with pytest.raises(WeightsError, match="no file"):
        load_codec(tmp_path / "nothing.safetensors")
    with pytest.raises(WeightsError, match=r"config\.json"):
        load_codec(tmp_path)
