import weakref

import pytest
import torch
from safetensors.torch import load_file
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from loom_core.errors import ConfigError, WeightsError
from loom_core.vae.latents import denormalise, normalise
from loom_core.vae.wan import WanCodec

TOLERANCE = {"atol": 1e-5, "rtol": 0}


class LiveMemory(TorchDispatchMode):
    """Counts the bytes of all tensors made inside that are still alive, and their peak."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known = set()

    def _forget(self, key, size):
        self._known.discard(key)
        self.live -= size

    def __torch_dispatch__(self, func, types, args=(), kwargs=None) -> object:
        del types
        results = func(*args, **(kwargs or {}))
        given = {x.untyped_storage()._cdata for x in tree_iter((args, kwargs)) if isinstance(x, torch.Tensor)}
        for result in tree_iter(results):
            if not isinstance(result, torch.Tensor):
                continue
            storage = result.untyped_storage()
            if storage._cdata in self._known or storage._cdata in given:
                continue
            self._known.add(storage._cdata)
            self.live += storage.nbytes()
            weakref.finalize(storage, self._forget, storage._cdata, storage.nbytes())
        self.peak = max(self.peak, self.live)
        return results


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


def test_memory_of_encoding_grows_by_the_latents_only(wan_codec):
    peaks = []
    for frames in (13, 45):
        pixels = random_latents(1, 3, frames, 32, 32)
        with LiveMemory() as memory:
            wan_codec.encode_posterior(pixels)
        peaks.append(memory.peak)
    more = 8 * 2 * 48 * 2 * 2 * 4  # latent frames x moments x channels x rows x columns x bytes
    assert 0 <= peaks[1] - peaks[0] <= 2 * more  # once for the moments, once for the clamped log-variance


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


def test_half_precision_returns_float32(wan_folder):
    codec = WanCodec.load(wan_folder, dtype=torch.bfloat16)
    latents = codec.encode(torch.zeros(1, 3, 5, 32, 32))
    pixels = codec.decode(latents.bfloat16())
    assert latents.dtype is pixels.dtype is torch.float32
    assert latents.isfinite().all()
    assert pixels.isfinite().all()


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
    for call in (lambda: wan_codec.decode_chunks(latents), lambda: wan_codec.encode(torch.zeros(1, 3, 1, 16, 16))):
        with pytest.raises(WeightsError, match="released"):
            call()


def test_bad_input_is_refused_before_any_work(wan_folder, wan_codec):
    with pytest.raises(ConfigError, match="97 or 101"):
        wan_codec.encode(torch.zeros(1, 3, 98, 16, 16))
    with pytest.raises(ConfigError, match="48"):
        wan_codec.decode_chunks(torch.zeros(1, 16, 1, 2, 2))  # at the call, not at the first chunk
    with pytest.raises(ConfigError, match="overlap"):
        WanCodec.load(wan_folder, tile_latents=4, tile_overlap=3)
