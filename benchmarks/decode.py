"""Memory and work of decoding with the released VAE's sizes, on the meta device, in bfloat16.

Compared with diffusers' own decoding, which keeps every frame until the end. The clip's own pixels count there, since
it holds them; a stream hands each chunk on.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor

from loom_core.geometry import SPATIAL_STRIDE, latent_frames
from loom_core.vae.latents import LATENT_CHANNELS
from loom_core.vae.memory import choose_tile
from loom_core.vae.wan import WanCodec

from .flops import count_flops
from .live_memory import peak_live_bytes
from .registry import Benchmark
from .report import Comparison, Figure

RELEASED = {
    "base_dim": 160,
    "decoder_base_dim": 256,
    "in_channels": 12,
    "out_channels": 12,
    "z_dim": LATENT_CHANNELS,
    "dim_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "temperal_downsample": [False, True, True],
    "is_residual": True,
    "patch_size": 2,
    "scale_factor_spatial": SPATIAL_STRIDE,
}
"""Of config.json in Wan2.2-TI2V-5B-Diffusers/vae. Source: that file."""

DTYPE = torch.bfloat16
LENGTHS = (17, 81, 241)
"""Frames of a clip; the last two are those that growth is stated of."""
TILE_PX = 256
SIZES = {"480p": (832, 480), "720p": (1280, 704)}
FREE = (6e9, 8e9)
"""Bytes free for the VAE's activations."""
GIGA, TERA = 1e9, 1e12


@cache
def released_vae() -> Any:
    """The model of the released sizes, without values."""
    from diffusers import AutoencoderKLWan  # noqa: PLC0415 - an extra that not everybody has

    with torch.device("meta"):
        return AutoencoderKLWan(**RELEASED).to(DTYPE).eval()


def clip_latents(width: int, height: int, num_frames: int) -> Tensor:
    """[1, C, F, H, W] of a clip's size in pixels, without values."""
    rows, columns = height // SPATIAL_STRIDE, width // SPATIAL_STRIDE
    return torch.empty(1, LATENT_CHANNELS, latent_frames(num_frames), rows, columns, device="meta")


def streamed(latents: Tensor, *, tile_latents: int | None = None, model: Any = None) -> Callable[[], None]:
    """Decodes a chunk at a time and lets it go.

    Args:
        latents: Of the clip.
        tile_latents: Side of a tile; None for whole frames.
        model: None for the released one.
    """
    codec = WanCodec(model or released_vae(), tile_latents=tile_latents)

    def run() -> None:
        for chunk in codec.decode_chunks(latents):
            del chunk

    return run


@contextmanager
def _tiling(model: Any, *, on: bool) -> Iterator[None]:
    (model.enable_tiling if on else model.disable_tiling)()
    try:
        yield
    finally:
        model.disable_tiling()


def kept(latents: Tensor, *, tiled: bool = False, model: Any = None) -> Callable[[], None]:
    """Decodes as diffusers does, which returns the whole clip; `tiled` in its own tiles of 256 pixels."""
    model = model or released_vae()

    def run() -> None:
        with _tiling(model, on=tiled):
            model.decode(latents.to(next(model.parameters()).dtype), return_dict=False)

    return run


def _over_length() -> Iterator[Comparison]:
    ours = {}
    for frames in LENGTHS:
        latents = clip_latents(TILE_PX, TILE_PX, frames)
        ours[frames] = peak_live_bytes(streamed(latents))
        yield Comparison(
            key=f"decode_memory_{frames}",
            title=f"peak of live tensors in decoding {frames} frames of {TILE_PX}x{TILE_PX}",
            first=Figure("diffusers", peak_live_bytes(kept(latents)) / GIGA),
            second=Figure("streamed", ours[frames] / GIGA),
            unit="GB",
            conditions="released VAE's sizes on meta, bfloat16; weights and latents not counted",
        )
    short, long = LENGTHS[-2:]
    yield Comparison(
        key="decode_growth",
        title=f"peak of live tensors in decoding {TILE_PX}x{TILE_PX}, {long} frames against {short}",
        first=Figure(f"{long} frames", ours[long] / GIGA),
        second=Figure(f"{short} frames", ours[short] / GIGA),
        unit="GB",
        conditions="released VAE's sizes on meta, bfloat16, streamed",
    )


def _tiles() -> Iterator[Comparison]:
    for name, (width, height) in SIZES.items():
        latents = clip_latents(width, height, 9)
        whole = count_flops(streamed(latents))
        for free in FREE:
            tile = choose_tile(height, width, itemsize=DTYPE.itemsize, free_bytes=int(free))
            peak = peak_live_bytes(streamed(latents, tile_latents=tile)) / GIGA
            text = "whole frames" if tile is None else f"tiles of {tile * SPATIAL_STRIDE} pixels"
            yield Comparison(
                key=f"decode_tiling_{name}_{free / GIGA:.0f}gb",
                title=f"FLOPs of decoding {width}x{height} with the tiles chosen for {free / GIGA:.0f} GB, "
                "against whole frames",
                first=Figure(text, count_flops(streamed(latents, tile_latents=tile)) / TERA),
                second=Figure("whole frames", whole / TERA),
                unit="TFLOP",
                conditions=f"released VAE's sizes on meta, bfloat16, 9 frames; peak of the tiles {peak:.2f} GB",
            )
        yield Comparison(
            key=f"decode_tiling_{name}_diffusers",
            title=f"FLOPs of decoding {width}x{height} in diffusers' own tiles, against whole frames",
            first=Figure("diffusers, tiles of 256 pixels", count_flops(kept(latents, tiled=True)) / TERA),
            second=Figure("whole frames", whole / TERA),
            unit="TFLOP",
            conditions="released VAE's sizes on meta, bfloat16, 9 frames",
        )


def measure() -> Iterator[Comparison]:
    """All counts."""
    yield from _over_length()
    yield from _tiles()


def missing() -> str | None:
    """Why it cannot run here."""
    return None if importlib.util.find_spec("diffusers") else "The Wan 2.2 VAE is diffusers': pip install diffusers."


BENCHMARK = Benchmark(
    about="memory of streamed decoding over a clip's length, and what tiles cost, at the released VAE's size",
    seconds=55,
    measure=measure,
    missing=missing,
)
