"""How much memory the Wan 2.2 VAE takes at its released sizes, and the tiles that fit in what is free.

Nearly all of it is activations, whose size is a number of elements a pixel: the widest block of the tile being worked
on, and, when decoding, what every other tile keeps from one latent frame to the next (decoding goes through all tiles
for each frame). That second part is why tiles save less than one would hope, and not the more the smaller they are: an
overlap of a quarter means up to 2.5 times as many pixels at rest. At 1280 x 704 in bf16 no tile decodes in less than
6.5 GB; encoding, which finishes a tile before the next, takes 0.5 GB.

The numbers are those of the largest set of tensors alive at once, counted on the meta device with the widths of the
released VAE (160 channels in the encoder, 256 in the decoder); the tests count them again. At 1280 x 704, whole, in
bf16 that makes 9.8 GB, which is what a GPU shows too. Weights (0.7 G elements) and the clip itself are not part of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from ..errors import ConfigError
from ..geometry import SPATIAL_STRIDE
from .tiling import default_overlap, plan_tiles

Direction = Literal["encode", "decode"]


@dataclass(frozen=True)
class _Cost:
    """Elements a pixel: of the tile being worked on, and of each other tile."""

    working: int
    resting: int


_COSTS: dict[Direction, _Cost] = {"encode": _Cost(working=1890, resting=0), "decode": _Cost(working=5460, resting=1815)}
_RESULT_BYTES = 100  # a pixel: two chunks of 4 frames in float32 and blend weights, or the moments of 121 frames
_FIXED_BYTES = 16 << 20  # what does not grow with the picture: converted biases, small attention buffers
_MARGIN = 1.1  # lost by allocators in gaps and rounding
_LEAST_CHOSEN = 16  # latents; below 256 pixels what is at rest decides, and seams begin to show
_STEP = 4  # latents, so that a quarter is a whole number


def peak_bytes(
    height_px: int, width_px: int, *, tile_latents: int | None, dtype: torch.dtype, direction: Direction = "decode"
) -> int:
    """Most bytes that encoding or decoding one clip holds at once, without weights and without the clip itself.

    Args:
        height_px: Height of the picture in pixels, at least 1.
        width_px: Width of the picture in pixels, at least 1.
        tile_latents: Side of a tile in latents, overlapping by a quarter; None for the whole frame.
        dtype: In which the VAE computes.
        direction: What is done; encoding takes about a third of what decoding takes.

    Raises:
        ConfigError: An empty picture, or tiles that make no sense.
    """
    return _bytes(_tile_areas(height_px, width_px, tile_latents), dtype, _COSTS[direction])


def tile_for_free_memory(
    height_px: int, width_px: int, *, dtype: torch.dtype, device: torch.device, direction: Direction = "decode"
) -> int | None:
    """See `choose_tile`, for what is free on a CUDA device once torch has given back what it only keeps."""
    torch.cuda.empty_cache()
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return choose_tile(height_px, width_px, dtype=dtype, free_bytes=free_bytes, direction=direction)


def choose_tile(
    height_px: int, width_px: int, *, dtype: torch.dtype, free_bytes: int, direction: Direction = "decode"
) -> int | None:
    """Of the tiles that fit in memory, those that cover the frame with the least overlap, which is lost work.

    Args:
        height_px: Height of the picture in pixels, at least 1.
        width_px: Width of the picture in pixels, at least 1.
        dtype: In which the VAE computes.
        free_bytes: What may be used, with the VAE's weights on the device already; a tenth is kept in reserve.
        direction: What is to be done.

    Returns:
        Side of a tile in latents, at least 16, for `WanCodec.tile_latents`; None when the whole frame fits, or is no
        larger than the smallest tile. Where nothing fits, the tiles that need the least.

    Raises:
        ConfigError: An empty picture.
    """
    longest = -(-max(height_px, width_px) // SPATIAL_STRIDE)
    areas = {
        tile: _tile_areas(height_px, width_px, tile) for tile in (None, *range(_LEAST_CHOSEN, longest, _STEP)[::-1])
    }  # from large to small: of equals, `min` takes the first
    needs = {tile: _MARGIN * _bytes(covered, dtype, _COSTS[direction]) for tile, covered in areas.items()}
    fitting = [tile for tile, need in needs.items() if need <= free_bytes]
    if fitting:
        return min(fitting, key=lambda tile: sum(areas[tile]))
    return min(needs, key=lambda tile: needs[tile])


def _bytes(areas: list[int], dtype: torch.dtype, cost: _Cost) -> int:
    elements = cost.working * max(areas) + cost.resting * (sum(areas) - max(areas))
    return elements * dtype.itemsize + _RESULT_BYTES * sum(areas) + _FIXED_BYTES


def _tile_areas(height_px: int, width_px: int, tile_latents: int | None) -> list[int]:
    """Pixels of each tile."""
    if min(height_px, width_px) < 1:
        raise ConfigError(
            f"a picture of {width_px}x{height_px}", expected="at least one pixel", fix="give width and height"
        )
    rows, columns = (-(-side // SPATIAL_STRIDE) for side in (height_px, width_px))
    if tile_latents is None:
        return [rows * columns * SPATIAL_STRIDE**2]
    tiles = plan_tiles(rows, columns, size=tile_latents, overlap=default_overlap(tile_latents))
    return [tile.rows.length * tile.columns.length * SPATIAL_STRIDE**2 for tile in tiles]
