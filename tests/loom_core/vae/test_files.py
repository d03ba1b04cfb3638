import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from loom_core.errors import WeightsError
from loom_core.vae.files import LINEAR_FORMAT, CodecKind, WeightsFile, fill_model, identify_codec, read_header


def described(path, shapes, metadata=None):
    return WeightsFile(path, shapes, metadata or {})


def test_header_has_shapes_and_metadata(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"w": torch.zeros(2, 3)}, path, metadata={"format": "x"})
    header = read_header(path)
    assert header.shapes == {"w": (2, 3)}
    assert header.metadata == {"format": "x"}


def test_missing_foreign_and_damaged_files(tmp_path):
    with pytest.raises(WeightsError, match="no file"):
        read_header(tmp_path / "none.safetensors")
    pickled = tmp_path / "vae.pth"
    pickled.write_bytes(b"\x80\x02")
    with pytest.raises(WeightsError, match=r"\.pth file.*expected a \.safetensors"):
        read_header(pickled)
    good, cut = tmp_path / "good.safetensors", tmp_path / "cut.safetensors"
    save_file({"w": torch.zeros(64, 64)}, good)
    cut.write_bytes(good.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="cannot be read"):
        read_header(cut)


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ({"conv2.weight": (16, 16, 1, 1, 1), "decoder.middle.0.residual.0.gamma": (384,)}, "Wan 2.1 VAE .16 latent"),
        ({"post_quant_conv.weight": (16, 16, 1, 1, 1), "decoder.conv_in.bias": (384,)}, "Wan 2.1 VAE .16 latent"),
        ({"post_quant_conv.weight": (4, 4, 1, 1), "decoder.conv_in.bias": (512,)}, "another VAE .4 latent"),
        ({"patch_embedding.weight": (3072, 48, 1, 2, 2)}, "diffusion transformer"),
        ({"model.diffusion_model.blocks.0.self_attn.q.weight": (8, 8)}, "diffusion transformer"),
        ({"model.embed_tokens.weight": (100, 8)}, "language model"),
        ({"fc.weight": (1, 1)}, "unknown model .1 tensors: fc.weight"),
        ({}, "without tensors"),
    ],
)
def test_a_wrong_file_is_told_what_it_is(tmp_path, shapes, said):
    with pytest.raises(WeightsError, match=f"{said}.*expected the Wan 2.2 VAE.*to fix"):
        identify_codec(described(tmp_path / "x.safetensors", shapes))


def test_codecs_are_told_apart(tmp_path):
    path = tmp_path / "x.safetensors"
    assert identify_codec(described(path, {}, {"format": LINEAR_FORMAT})) is CodecKind.LINEAR
    original = {"conv2.weight": (48, 48, 1, 1, 1), "decoder.upsamples.0.upsamples.0.residual.2.weight": (8,)}
    assert identify_codec(described(path, original)) is CodecKind.WAN_ORIGINAL
    renamed = {"post_quant_conv.weight": (48, 48, 1, 1, 1), "encoder.down_blocks.0.resnets.0.conv1.weight": (8,)}
    assert identify_codec(described(path, renamed)) is CodecKind.WAN_DIFFUSERS


def fill(tmp_path, tensors, dtype=torch.float32):
    path = tmp_path / "m.safetensors"
    save_file(tensors, path)
    with torch.device("meta"):
        model = nn.Linear(2, 3)
    fill_model(model, read_header(path), rename=lambda name: name.removeprefix("old."), dtype=dtype, device="cpu")
    return model


def test_fill_renames_and_casts(tmp_path):
    model = fill(tmp_path, {"old.weight": torch.ones(3, 2), "old.bias": torch.arange(3.0)}, torch.bfloat16)
    assert model.bias.dtype is torch.bfloat16
    assert model.bias.tolist() == [0, 1, 2]


def test_fill_names_every_fault(tmp_path):
    with pytest.raises(WeightsError) as caught:
        fill(tmp_path, {"weight": torch.ones(2, 2), "scale": torch.ones(1)})
    message = str(caught.value)
    assert "1 missing (bias)" in message
    assert "1 unexpected (scale)" in message
    assert "1 mis-shaped (weight (2, 2) instead of (3, 2))" in message


@pytest.mark.parametrize(("value", "dtype"), [(float("nan"), torch.float32), (1e9, torch.float16)])
def test_fill_refuses_values_that_are_not_finite(tmp_path, value, dtype):
    with pytest.raises(WeightsError, match="NaN or infinity in bias"):
        fill(tmp_path, {"weight": torch.ones(3, 2), "bias": torch.full((3,), value)}, dtype)
