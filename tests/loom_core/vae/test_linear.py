import math

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.nn import functional

from loom_core.errors import ConfigError, WeightsError
from loom_core.vae.linear import LinearCodec, colour_basis, cosine_basis, mirror_pad, pattern_kernels


def panning_picture(height, width, frames, *, seed=0):
    """A natural-looking scene (1/f spectrum) under a slowly panning camera, [1, 3, frames, height, width]."""
    generator = torch.Generator().manual_seed(seed)
    tall, wide = height + 2 * frames, width + 2 * frames
    radius = torch.hypot(torch.fft.fftfreq(tall)[:, None], torch.fft.rfftfreq(wide)).clamp(min=1 / wide)
    spectrum = torch.fft.rfft2(torch.randn(3, tall, wide, generator=generator)) / radius**1.2
    scene = torch.fft.irfft2(spectrum, s=(tall, wide))
    scene = (0.8 * scene[:1] + 0.2 * scene) / scene.std() * 0.4
    views = [scene[:, shift // 2 : shift // 2 + height, shift : shift + width] for shift in range(frames)]
    return torch.stack(views, dim=1)[None].clamp(-1, 1)


def psnr(pixels, expected):
    return 10 * math.log10(4 / (pixels - expected).square().mean().item())


def test_bases_are_orthonormal():
    for basis in (cosine_basis(16), cosine_basis(4), colour_basis()):
        torch.testing.assert_close(basis @ basis.mT, torch.eye(len(basis), dtype=basis.dtype))


def test_kernels_average_over_time_and_are_orthogonal():
    patterns = torch.tensor([[0, 0, 0, 0], [1, 0, 2, 3], [0, 1, 0, 0]])
    kernels = pattern_kernels(patterns, frames=4).flatten(1)
    torch.testing.assert_close(kernels @ kernels.mT, torch.eye(3) / 4)
    still = pattern_kernels(patterns[:2], frames=1)
    torch.testing.assert_close(pattern_kernels(patterns[:2], frames=4).reshape(2, 3, 4, 16, 16).sum(2), still)


def test_mirrored_latents_are_those_of_the_mirrored_picture():
    patterns = torch.tensor([[0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 3], [1, 0, 1, 1]])
    picture = torch.randn(1, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    mirrored = torch.cat([picture[:, :, :16].flip(2), picture, picture[:, :, -16:].flip(2)], dim=2)
    mirrored = torch.cat([mirrored[..., :16].flip(3), mirrored, mirrored[..., -16:].flip(3)], dim=3)
    kernels = pattern_kernels(patterns, frames=1)
    inside, outside = (functional.conv2d(pixels, kernels, stride=16) for pixels in (picture, mirrored))
    torch.testing.assert_close(mirror_pad(inside, patterns), outside, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("height", "width", "frames"), [(128, 128, 33), (64, 208, 5), (96, 80, 1)])
def test_pictures_come_back(linear_codec, height, width, frames):
    pixels = panning_picture(height, width, frames)
    latents = linear_codec.encode(pixels)
    assert latents.shape == (1, 48, (frames - 1) // 4 + 1, height // 16, width // 16)
    decoded = linear_codec.decode(latents)
    assert decoded.shape == pixels.shape
    assert decoded.dtype is torch.float32
    assert psnr(decoded, pixels) > 24  # finer detail than most real clips have, which give 27 to 28


def test_blocks_join_without_seams(linear_codec):
    pixels = panning_picture(128, 128, 1)
    steps = linear_codec.decode(linear_codec.encode(pixels)).diff(dim=-1).abs().mean(dim=(0, 1, 2, 3))
    at_seams = steps[15::16]
    assert at_seams.mean() < 1.25 * steps.mean()


def test_latents_are_normalised(linear_codec):
    latents = torch.cat([linear_codec.encode(panning_picture(128, 128, 9, seed=seed)) for seed in range(8)])
    assert abs(latents.mean()) < 0.15
    assert 0.4 < latents.std() < 1.6


def test_a_still_clip_has_the_same_shared_latents_in_every_frame(linear_codec):
    still = panning_picture(32, 32, 1).expand(-1, -1, 9, -1, -1)
    latents = linear_codec.encode(still)
    shared = (linear_codec._image.patterns == linear_codec._clip.patterns).all(dim=1)
    assert shared.sum() >= 40
    same = latents[:, shared]
    torch.testing.assert_close(same[:, :, 1:], same[:, :, :1].expand_as(same[:, :, 1:]), atol=1e-4, rtol=0)
    assert latents[:, ~shared, 1:].abs().max() < 1e-3  # nothing moves


def test_causal_and_batched(linear_codec):
    pixels = torch.cat([panning_picture(32, 48, 9, seed=seed) for seed in (0, 1)])
    latents = linear_codec.encode(pixels)
    torch.testing.assert_close(linear_codec.encode(pixels[:1, :, :5]), latents[:1, :, :2], atol=1e-5, rtol=0)
    decoded = linear_codec.decode(latents)
    torch.testing.assert_close(linear_codec.decode(latents[1:, :, :2]), decoded[1:, :, :5], atol=1e-5, rtol=0)


def test_generated_latents_decode_within_bounds(linear_codec):
    latents = torch.randn(1, 48, 30, 4, 4, generator=torch.Generator().manual_seed(0))
    pixels = linear_codec.decode(latents)
    assert pixels.abs().max() <= 1
    # No feedback, so the last group is no wilder than the first, and an error in the latents is not amplified.
    assert 0.7 < pixels[:, :, -4:].std() / pixels[:, :, 1:5].std() < 1.4
    noisy = linear_codec.decode(latents + 0.1 * torch.randn(latents.shape, generator=torch.Generator().manual_seed(1)))
    assert (noisy - pixels).std() < 0.1


def test_chunks_are_the_whole_and_lazy(linear_codec):
    latents = torch.randn(1, 48, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    chunks = list(linear_codec.decode_chunks(latents))
    assert [chunk.shape[2] for chunk in chunks] == [1, 4, 4]
    assert torch.equal(torch.cat(chunks, dim=2), linear_codec.decode(latents))
    unending = torch.zeros(1, 48, 1, 1, 1).expand(1, 48, 10**9, 1, 1)
    assert next(linear_codec.decode_chunks(unending)).shape == (1, 3, 1, 16, 16)


@pytest.mark.parametrize("frames", [1, 13])
def test_encoded_chunks_are_the_whole_in_order(linear_codec, frames):
    pixels = torch.cat([panning_picture(32, 48, frames, seed=seed) for seed in (0, 1)])
    chunks = list(linear_codec.encode_chunks(pixels))
    assert [tuple(chunk.shape) for chunk in chunks] == [(2, 48, 1, 2, 3)] * ((frames - 1) // 4 + 1)
    assert torch.equal(torch.cat(chunks, dim=2), linear_codec.encode(pixels))


def test_encoding_in_chunks_is_lazy_and_refuses_at_once(linear_codec):
    long = torch.zeros(1, 3, 1, 16, 16).expand(1, 3, 4 * 10**9 + 1, 16, 16)  # only what is asked for is computed
    chunks = linear_codec.encode_chunks(long)
    first, second = next(chunks), next(chunks)
    assert torch.equal(torch.cat([first, second], dim=2), linear_codec.encode(torch.zeros(1, 3, 5, 16, 16)))
    with pytest.raises(ConfigError, match="97 or 101"):
        linear_codec.encode_chunks(torch.zeros(1, 3, 98, 16, 16))


@pytest.mark.parametrize(("frames", "middle"), [(1, slice(0, 1)), (9, slice(1, 5))])
def test_preview_is_the_exact_mean_colour_of_blocks(linear_codec, frames, middle):
    pixels = panning_picture(64, 48, frames)
    preview = linear_codec.preview(linear_codec.encode(pixels)[0])
    means = functional.avg_pool2d(pixels[0, :, middle].mean(dim=1), 16).permute(1, 2, 0)
    assert preview.dtype is torch.uint8
    assert (preview.float() - (means + 1) * 127.5).abs().max() <= 0.51


def test_the_colour_map_is_that_of_the_preview(linear_codec):
    latents = linear_codec.encode(panning_picture(64, 48, 9))[0]
    assert torch.equal(linear_codec.colour_map().colours(latents[:, 1]), linear_codec.preview(latents))


def test_moving_there_and_back_changes_nothing(linear_path):
    codec, pixels = LinearCodec.load(linear_path), panning_picture(32, 32, 5)
    latents = codec.encode(pixels)
    codec.to(torch.device("cpu"))
    assert torch.equal(codec.encode(pixels), latents)


def test_a_codec_can_be_made_again_of_its_tensors(linear_codec, linear_path):
    tensors, pixels = linear_codec.tensors(), panning_picture(32, 32, 5)
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == {
        name: tuple(tensor.shape) for name, tensor in load_file(linear_path).items()
    }
    assert torch.equal(LinearCodec.from_tensors(tensors).encode(pixels), linear_codec.encode(pixels))


def test_tiles_have_no_effect(linear_path):
    codec, latents = LinearCodec.load(linear_path), torch.randn(1, 48, 1, 4, 12)
    whole = codec.decode(latents)
    codec.tile_latents = 4
    assert torch.equal(codec.decode(latents), whole)


def test_generator_changes_nothing(linear_codec):
    pixels = panning_picture(32, 32, 5)
    drawn = linear_codec.encode(pixels, generator=torch.Generator().manual_seed(0))
    assert torch.equal(drawn, linear_codec.encode(pixels))
    linear_codec.release()
    assert torch.equal(drawn, linear_codec.encode(pixels))


def test_bad_input_is_refused(linear_codec):
    with pytest.raises(ConfigError, match="97 or 101"):
        linear_codec.encode(torch.zeros(1, 3, 98, 16, 16))
    with pytest.raises(ConfigError, match="48"):
        linear_codec.decode_chunks(torch.zeros(1, 16, 1, 2, 2))
    with pytest.raises(ConfigError, match="48"):
        linear_codec.preview(torch.zeros(16, 1, 2, 2))


def test_the_file_is_small_and_says_what_it_is(linear_path):
    assert linear_path.stat().st_size < 1_300_000
    with safe_open(linear_path, framework="pt") as handle:
        metadata = handle.metadata()
    assert metadata["format"] == "loom_core.linear_codec"
    assert metadata["version"] == "2"
    assert "fit_tiny_codec" in metadata["recipe"]


def test_damaged_files_are_refused(linear_path, tmp_path):
    tensors, path = load_file(linear_path), tmp_path / "codec.safetensors"
    metadata = {"format": "loom_core.linear_codec", "version": "2"}
    broken = {**tensors, "clip.mean": tensors["clip.mean"] * float("nan")}
    save_file(broken, path, metadata=metadata)
    with pytest.raises(WeightsError, match=r"'clip\.mean' has 48 NaN"):
        LinearCodec.load(path)
    del broken["clip.mean"]
    save_file(broken, path, metadata=metadata)
    with pytest.raises(WeightsError, match=r"1 missing: clip\.mean"):
        LinearCodec.load(path)
    unbounded = {**tensors, "clip.synthesis": torch.zeros(3072, 432)}
    save_file(unbounded, path, metadata=metadata)
    with pytest.raises(WeightsError, match=r"clip\.synthesis"):
        LinearCodec.load(path)
    save_file(tensors, path, metadata={**metadata, "version": "1"})
    with pytest.raises(WeightsError, match=r"version 1 .*expected version 2.*fit_tiny_codec"):
        LinearCodec.load(path)


def test_a_wan_vae_is_refused(wan_weights):
    with pytest.raises(WeightsError, match=r"Wan 2\.2 VAE.*load_codec"):
        LinearCodec.load(wan_weights)
