import pytest
import torch
from safetensors.torch import load_file

from benchmarks.live_memory import LiveMemory, peak_live_bytes
from loom_core.errors import ConfigError, WeightsError
from loom_core.vae.latents import denormalise, normalise
from loom_core.vae.tiling import SMALLEST_TILE
from loom_core.vae.wan import WanCodec

TOLERANCE = {"atol": 1e-5, "rtol": 0}
BOUND = 0.02  # bf16 keeps 8 bits: 0.4 % an operation, which partly averages out


def random_latents(*shape: int, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_golden_cases(wan_codec, golden_dir):
    paths = sorted((golden_dir / "vae").glob("*.safetensors"))
    assert paths
    for path in paths:
        case = load_file(path)
        pixels = case["pixels"]
        pixels = (pixels if pixels.dim() == 4 else pixels[:, None])[None]
        posterior = wan_codec.encode_posterior(pixels)
        latents = case["latents_mode"]
        sampled = normalise(posterior.sample(case["posterior_noise"]), wan_codec.statistics)
        found = {
            "posterior_mean": posterior.mean,
            "posterior_logvar": posterior.logvar,
            "latents_sampled": sampled,
            "latents_mode": wan_codec.encode(pixels),
            "denormalised": denormalise(latents, wan_codec.statistics),
            "decoded": wan_codec.decode(latents),
        }
        for name, tensor in found.items():
            torch.testing.assert_close(tensor, case[name].reshape(tensor.shape), **TOLERANCE, msg=f"{path.stem} {name}")


def test_streams_equal_diffusers_own_loops(wan_codec):
    model, latents = wan_codec._model, random_latents(2, 48, 4, 3, 2)
    pixels = wan_codec.decode(latents)
    assert pixels.shape == (2, 3, 13, 48, 32)
    expected = model.decode(denormalise(latents, wan_codec.statistics)).sample
    torch.testing.assert_close(pixels, expected, **TOLERANCE)
    posterior = model.encode(expected).latent_dist
    torch.testing.assert_close(wan_codec.encode_posterior(expected).mean, posterior.mean, **TOLERANCE)
    torch.testing.assert_close(wan_codec.encode_posterior(expected).logvar, posterior.logvar, **TOLERANCE)


def test_a_batch_is_its_samples(wan_codec):
    latents = random_latents(2, 48, 2, 2, 2)
    whole = wan_codec.decode(latents)
    torch.testing.assert_close(whole, torch.cat([wan_codec.decode(one[None]) for one in latents]), **TOLERANCE)


def test_causal_a_prefix_decodes_alike(wan_codec):
    latents = random_latents(1, 48, 4, 2, 2)
    torch.testing.assert_close(wan_codec.decode(latents)[:, :, :5], wan_codec.decode(latents[:, :, :2]), **TOLERANCE)


def test_generator_draws_from_the_posterior(wan_codec):
    pixels = random_latents(1, 3, 5, 32, 32).clamp(-1, 1)
    mode = wan_codec.encode(pixels)
    first, again, other = (
        wan_codec.encode(pixels, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    noise = torch.randn(mode.shape, generator=torch.Generator().manual_seed(1))
    drawn = normalise(wan_codec.encode_posterior(pixels).sample(noise), wan_codec.statistics)
    assert torch.equal(first, drawn)
    assert not torch.equal(first, mode)


def test_chunks_are_made_when_asked_for(wan_codec, monkeypatch):
    calls, decoder = [], wan_codec._model.decoder

    def counted(tile, forward=decoder.forward, **options):
        calls.append(options["first_chunk"])
        return forward(tile, **options)

    monkeypatch.setattr(decoder, "forward", counted)
    chunks = wan_codec.decode_chunks(random_latents(1, 48, 3, 2, 2))
    assert calls == []
    assert next(chunks).shape == (1, 3, 1, 32, 32)
    assert calls == [True]
    assert next(chunks).shape == (1, 3, 4, 32, 32)
    assert calls == [True, False]
    assert len(list(chunks)) == 1


@pytest.mark.parametrize("tile_latents", [None, 4])
def test_memory_of_decoding_does_not_grow_with_length(wan_folder, tile_latents):
    codec = WanCodec.load(wan_folder, tile_latents=tile_latents)
    peaks = []
    for frames in (4, 12):
        latents = random_latents(1, 48, frames, 5, 5)
        with LiveMemory() as memory:
            for chunk in codec.decode_chunks(latents):
                del chunk
        peaks.append(memory.peak)
    assert peaks[0] > 100_000  # the counter does count
    assert peaks[1] == peaks[0]


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_memory_of_encoding_grows_by_the_latents_only(wan_codec, device):
    wan_codec.to(device)  # on another device than the pixels it must not copy the clip there whole
    pixels = [random_latents(1, 3, frames, 32, 32) for frames in (13, 45)]
    peaks = [peak_live_bytes(lambda clip=clip: wan_codec.encode_posterior(clip)) for clip in pixels]
    more = 8 * 2 * 48 * 2 * 2 * 4  # latent frames x moments x channels x rows x columns x bytes
    assert 0 <= peaks[1] - peaks[0] <= 2 * more  # once for the moments, once for the clamped log-variance


def test_memory_of_decoding_from_another_device_does_not_grow(wan_codec):
    wan_codec.to("meta")

    def decode_and_drop(latents):
        for chunk in wan_codec.decode_chunks(latents):
            del chunk

    clips = [random_latents(1, 48, frames, 2, 2) for frames in (4, 12)]
    short, long = (peak_live_bytes(lambda clip=clip: decode_and_drop(clip)) for clip in clips)
    assert short == long


def without_attention(codec):
    """The codec with the attention of its middle blocks off: what is left looks only a few latents far."""
    for part in (codec._model.encoder, codec._model.decoder):
        for attention in part.mid_block.attentions:
            attention.proj.weight.zero_()
            attention.proj.bias.zero_()
    return codec


@pytest.mark.parametrize("direction", ["decode", "encode"])
def test_tiles_are_the_whole_away_from_seams_and_close_to_it_there(wan_folder, direction):
    whole_codec = without_attention(WanCodec.load(wan_folder))
    tiled_codec = without_attention(WanCodec.load(wan_folder, tile_latents=12, tile_overlap=4))
    given = random_latents(1, 48, 2, 6, 20)  # tiles cover columns 0 to 12 and 8 to 20
    if direction == "encode":
        given = whole_codec.decode(given)
    whole, tiled = getattr(whole_codec, direction)(given), getattr(tiled_codec, direction)(given)
    error = (tiled - whole).square().mean(dim=(0, 1, 2, 3)).sqrt().reshape(20, -1).amax(dim=1) / whole.std()
    assert error[[0, 1, 2, 3, -4, -3, -2, -1]].max() < 3e-3
    assert 1e-2 < error[8:12].max() < 0.3  # tiling did happen; random weights look further than trained ones


def test_tiles_blend_linearly(wan_folder, monkeypatch):
    codec = WanCodec.load(wan_folder, tile_latents=12, tile_overlap=4)
    brightness = iter((0.0, 1.0))

    def flat(tile, **_options):
        return torch.full((1, 12, 1, *(8 * side for side in tile.shape[3:])), next(brightness))

    monkeypatch.setattr(codec._model.decoder, "forward", flat)
    row = codec.decode(random_latents(1, 48, 1, 2, 20))[0, 0, 0, 5]
    assert torch.equal(row[: 8 * 16], torch.zeros(8 * 16))
    assert torch.equal(row[12 * 16 :], torch.ones(8 * 16))
    torch.testing.assert_close(row[8 * 16 : 12 * 16], (torch.arange(64) + 0.5) / 64)


def relative_error(found, expected):
    return ((found - expected).norm() / expected.norm()).item()


@pytest.fixture
def half_codec(wan_folder):
    return WanCodec.load(wan_folder, dtype=torch.bfloat16)


def test_half_precision_is_close_and_returns_float32(wan_codec, half_codec):
    given = random_latents(1, 48, 4, 4, 6)
    pixels = wan_codec.decode(given)
    half_pixels, latents, half_latents = half_codec.decode(given), wan_codec.encode(pixels), half_codec.encode(pixels)
    assert half_pixels.dtype is half_latents.dtype is torch.float32
    assert half_pixels.isfinite().all()
    assert half_latents.isfinite().all()
    assert 0 < relative_error(half_pixels, pixels) < BOUND
    assert 0 < relative_error(half_latents, latents) < BOUND


def test_half_precision_applies_the_statistics_in_float32(half_codec, monkeypatch):
    """Rounding before them too would double the error of the latents, which the DiT then sees."""
    given, seen = random_latents(1, 48, 1, 2, 2), []
    convolution = half_codec._model.post_quant_conv
    monkeypatch.setattr(
        convolution, "forward", lambda raw, forward=convolution.forward: (seen.append(raw), forward(raw))[1]
    )
    half_codec.decode(given)
    assert torch.equal(seen[0], denormalise(given, half_codec.statistics).bfloat16())
    assert not torch.equal(seen[0], denormalise(given.bfloat16(), half_codec.statistics))
    pixels = random_latents(1, 3, 1, 32, 32).clamp(-1, 1)
    mean = half_codec.encode_posterior(pixels).mean
    assert mean.dtype is torch.float32
    assert torch.equal(half_codec.encode(pixels), normalise(mean, half_codec.statistics))


def test_tiles_can_be_changed_and_bad_ones_leave_the_old(wan_folder):
    codec, latents = WanCodec.load(wan_folder), random_latents(1, 48, 2, 6, 20)
    whole = codec.decode(latents)
    chunks = codec.decode_chunks(latents)
    codec.tile_latents = 12
    assert torch.equal(torch.cat(list(chunks), dim=2), whole)  # what has begun goes on as it began
    tiled = codec.decode(latents)
    assert torch.equal(tiled, WanCodec.load(wan_folder, tile_latents=12).decode(latents))
    assert not torch.equal(tiled, whole)
    with pytest.raises(ConfigError, match="tiles of 3 latents"):
        codec.tile_latents = SMALLEST_TILE - 1
    assert codec.tile_latents == 12
    codec.tile_latents = SMALLEST_TILE
    codec.tile_latents = None
    assert torch.equal(codec.decode(latents), whole)


def test_an_overlap_of_ones_own_stays_and_must_fit(wan_folder):
    codec = WanCodec.load(wan_folder, tile_latents=12, tile_overlap=6)
    with pytest.raises(ConfigError, match="8 latents that overlap by 6"):
        codec.tile_latents = 8


def test_moving_keeps_the_precision(half_codec):
    latents = random_latents(1, 48, 2, 2, 2)
    before = half_codec.decode(latents)
    half_codec.to(torch.device("cpu"))
    assert torch.equal(half_codec.decode(latents), before)


def test_preview_is_small_steady_and_depends_on_the_middle_frame(wan_codec):
    latents = random_latents(48, 3, 4, 6)
    preview = wan_codec.preview(latents)
    assert preview.dtype is torch.uint8
    assert preview.shape == (4, 6, 3)
    assert torch.equal(preview, wan_codec.preview(latents))
    assert torch.equal(preview, wan_codec.preview(latents[:, 1:2]))
    assert not torch.equal(preview, wan_codec.preview(latents[:, :1]))


def test_preview_never_decodes(wan_codec, monkeypatch):
    monkeypatch.setattr(wan_codec._model.decoder, "forward", None)
    wan_codec.preview(random_latents(48, 1, 2, 2))


def test_released_codec_still_previews_but_says_so_otherwise(wan_codec):
    latents = random_latents(1, 48, 1, 2, 2)
    preview = wan_codec.preview(latents[0])
    wan_codec.release()
    assert torch.equal(wan_codec.preview(latents[0]), preview)
    for call in (
        lambda: wan_codec.decode_chunks(latents),
        lambda: wan_codec.encode(torch.zeros(1, 3, 1, 16, 16)),
        lambda: wan_codec.to("cpu"),
    ):
        with pytest.raises(WeightsError, match="released"):
            call()


def test_bad_input_is_refused_before_any_work(wan_folder, wan_codec):
    with pytest.raises(ConfigError, match="97 or 101"):
        wan_codec.encode(torch.zeros(1, 3, 98, 16, 16))
    with pytest.raises(ConfigError, match="48"):
        wan_codec.decode_chunks(torch.zeros(1, 16, 1, 2, 2))  # at the call, not at the first chunk
    with pytest.raises(ConfigError, match="overlap"):
        WanCodec.load(wan_folder, tile_latents=4, tile_overlap=3)
