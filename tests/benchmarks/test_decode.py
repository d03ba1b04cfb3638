"""The two ways to decode, with a small VAE of the released one's form."""

import pytest
import torch

from benchmarks import decode
from benchmarks.live_memory import peak_live_bytes

pytest.importorskip("diffusers", reason="the Wan 2.2 VAE is diffusers' (extra `vae`)")


@pytest.fixture(scope="module")
def small():
    from diffusers import AutoencoderKLWan

    with torch.device("meta"):
        return AutoencoderKLWan(**{**decode.RELEASED, "base_dim": 8, "decoder_base_dim": 8, "num_res_blocks": 1})


def test_a_stream_does_not_grow_with_the_clip(small):
    short, long = (decode.clip_latents(64, 64, frames) for frames in (9, 25))
    streamed = [peak_live_bytes(decode.streamed(latents, model=small)) for latents in (short, long)]
    kept = [peak_live_bytes(decode.kept(latents, model=small)) for latents in (short, long)]
    assert streamed[0] == streamed[1]
    assert kept[1] - kept[0] >= 3 * 16 * 64 * 64 * 4  # sixteen more frames of float32 pixels


def test_tiles_of_diffusers_are_let_go_again(small):
    latents = decode.clip_latents(512, 64, 5)
    tiled = decode.count_flops(decode.kept(latents, tiled=True, model=small))
    assert tiled > decode.count_flops(decode.kept(latents, model=small))
    assert not small.use_tiling


def test_latents_of_a_size_in_pixels():
    assert decode.clip_latents(1280, 704, 81).shape == (1, 48, 21, 44, 80)
