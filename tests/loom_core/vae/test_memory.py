"""The arithmetic of `memory.py` against tensors counted on the meta device, at the released sizes."""

import pytest
import torch

from benchmarks.decode import RELEASED
from benchmarks.live_memory import peak_live_bytes
from loom_core.errors import ConfigError
from loom_core.geometry import latent_frames
from loom_core.vae.memory import choose_tile, covered_share, peak_bytes
from loom_core.vae.tiling import default_overlap, plan_tiles
from loom_core.vae.wan import WanCodec

GB = 10**9


@pytest.fixture(scope="module")
def released_model():
    diffusers = pytest.importorskip("diffusers", reason="the Wan 2.2 VAE is diffusers' (extra `vae`)")
    with torch.device("meta"):
        return diffusers.AutoencoderKLWan(**RELEASED)


def decode_and_drop(codec, latents):
    for chunk in codec.decode_chunks(latents):
        del chunk


def count(model, direction, *, dtype, rows, columns, tile, num_frames=9):
    codec = WanCodec(model.to(dtype), tile_latents=tile)
    if direction == "encode":
        pixels = torch.empty(1, 3, num_frames, rows * 16, columns * 16, device="meta")
        return peak_live_bytes(lambda: codec.encode_posterior(pixels))
    latents = torch.empty(1, 48, latent_frames(num_frames), rows, columns, device="meta")
    return peak_live_bytes(lambda: decode_and_drop(codec, latents))


@pytest.mark.parametrize(
    ("direction", "dtype", "rows", "columns", "tile"),
    [
        ("decode", torch.bfloat16, 44, 80, None),
        ("decode", torch.float32, 30, 52, None),
        ("decode", torch.bfloat16, 20, 30, 16),
        ("decode", torch.float32, 20, 33, 24),
        ("encode", torch.bfloat16, 44, 80, None),
        ("encode", torch.float32, 30, 52, None),
        ("encode", torch.bfloat16, 20, 30, 16),
    ],
)
def test_the_formula_is_what_is_alive(released_model, direction, dtype, rows, columns, tile):
    counted = count(released_model, direction, dtype=dtype, rows=rows, columns=columns, tile=tile)
    said = peak_bytes(rows * 16, columns * 16, tile_latents=tile, itemsize=dtype.itemsize, direction=direction)
    assert counted <= said <= 1.05 * counted + 0.1 * GB


@pytest.mark.parametrize("direction", ["encode", "decode"])
@pytest.mark.parametrize("tile", [None, 16])
@pytest.mark.parametrize("num_frames", [1, 5])
def test_short_clips_take_less(released_model, direction, tile, num_frames):
    given = {"rows": 20, "columns": 30, "tile": tile, "num_frames": num_frames}
    counted = count(released_model, direction, dtype=torch.bfloat16, **given)
    said = peak_bytes(320, 480, tile_latents=tile, itemsize=2, direction=direction, num_frames=num_frames)
    assert 0.98 * counted <= said <= 1.12 * counted + 0.02 * GB, "diffusers 0.35 takes a tenth less for two chunks"
    assert said < peak_bytes(320, 480, tile_latents=tile, itemsize=2, direction=direction)


def test_tiles_cover_more_than_the_picture():
    assert covered_share(704, 1280, None) == 1
    assert covered_share(704, 1280, 16) == 4 * 7 * 16 * 16 / (44 * 80)


def test_measured_on_a_gpu():
    for dtype, (width, height), measured in [
        (torch.bfloat16, (1280, 704), 9.8),
        (torch.float32, (1280, 704), 19.6),
        (torch.bfloat16, (832, 480), 4.4),
        (torch.float32, (832, 480), 8.7),
    ]:
        assert peak_bytes(height, width, tile_latents=None, itemsize=dtype.itemsize) / GB == pytest.approx(
            measured, rel=0.03
        )


def test_whole_frames_where_they_fit():
    assert choose_tile(704, 1280, itemsize=2, free_bytes=12 * GB) is None
    assert choose_tile(704, 1280, itemsize=2, free_bytes=10 * GB) is not None
    assert choose_tile(704, 1280, itemsize=4, free_bytes=12 * GB) is not None
    assert choose_tile(704, 1280, itemsize=2, free_bytes=5 * GB, direction="encode") is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("direction", ["encode", "decode"])
@pytest.mark.parametrize("free", [1, 2, 4, 6, 8, 10, 16])
def test_what_is_chosen_fits_and_costs_least(dtype, direction, free):
    height, width, free_bytes = 704, 1280, free * GB
    tile = choose_tile(height, width, itemsize=dtype.itemsize, free_bytes=free_bytes, direction=direction)
    needs = {
        size: 1.1 * peak_bytes(height, width, tile_latents=size, itemsize=dtype.itemsize, direction=direction)
        for size in (None, *range(16, 80, 4))
    }
    if min(needs.values()) > free_bytes:
        assert needs[tile] == min(needs.values())
        return
    assert needs[tile] <= free_bytes

    def covered(size):
        if size is None:
            return 44 * 80
        tiles = plan_tiles(44, 80, size=size, overlap=default_overlap(size))
        return sum(part.rows.length * part.columns.length for part in tiles)

    assert covered(tile) == min(covered(size) for size, need in needs.items() if need <= free_bytes)


def test_never_below_256_pixels_and_small_pictures_stay_whole():
    assert choose_tile(480, 832, itemsize=4, free_bytes=0, direction="encode") == 16
    assert choose_tile(256, 256, itemsize=4, free_bytes=0) is None


def test_bad_input():
    with pytest.raises(ConfigError, match="0x704"):
        choose_tile(704, 0, itemsize=4, free_bytes=GB)
    with pytest.raises(ConfigError, match="tiles of 1 latents"):
        peak_bytes(704, 1280, tile_latents=1, itemsize=4)
