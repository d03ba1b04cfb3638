"""How much memory the Wan 2.2 VAE takes, and the tiles that fit in what is free.

Nearly all of it is activations, whose size is a number of elements a pixel: the widest block of the tile being worked
on, and, when decoding, what every other tile keeps from one latent frame to the next (decoding goes through all tiles
for each frame). That second part is why tiles save less than one would hope, and not the more the smaller they are: an
overlap of a quarter means up to 2.5 times as many pixels at rest. At 1280 x 704 in bf16 no tile decodes in less than
6.5 GB; encoding, which finishes a tile before the next, takes 0.5 GB.

The numbers are those of the largest set of tensors alive at once, counted on the meta device with the widths of the
released VAE (160 channels in the encoder, 256 in the decoder); the tests count them again. They grow with the width,
but for the clip's own pixels and latents. A still is one frame where clips are worked on four at a time, and takes a
quarter; a clip of two latent frames has no third one's inputs at rest yet. At 1280 x 704, whole, in bf16 that makes
9.8 GB, which is what a GPU shows too. Weights (0.7 G elements) and the clip itself are not part of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..errors import ConfigError
from ..geometry import MAX_FRAMES, SPATIAL_STRIDE, latent_frames
from .tiling import default_overlap, plan_tiles

if TYPE_CHECKING:  # plans are made without torch
    import torch

Direction = Literal["encode", "decode"]


@dataclass(frozen=True)
class VaeSizes:
    """What decides how much memory a VAE of Wan 2.2 form takes.

    Args:
        encoder_width: Channels of its first block.
        decoder_width: Channels of its last block.
        num_weights: Numbers in its weights.
    """

    encoder_width: int = 160
    decoder_width: int = 256
    num_weights: int = 704_688_668

    def width(self, direction: Direction) -> int:
        """Channels of the widest picture that is worked on."""
        return self.encoder_width if direction == "encode" else self.decoder_width


WAN22_VAE = VaeSizes()
"""Of the released VAE."""


@dataclass(frozen=True)
class _Cost:
    """What a pixel takes at the released width.

    Args:
        working: Elements, of the tile being worked on.
        resting: Elements, of each other tile.
        beside: Bytes, whatever the width: pixels and blend weights in float32.
    """

    working: int
    resting: int
    beside: int


_LONGEST = 3  # latent frames; longer clips take no more
_COSTS: dict[Direction, dict[int, _Cost]] = {
    "encode": {1: _Cost(489, 0, 9), 2: _Cost(1717, 0, 36), _LONGEST: _Cost(1890, 0, 36)},
    "decode": {1: _Cost(1453, 860, 25), 2: _Cost(4751, 1800, 100), _LONGEST: _Cost(5460, 1815, 100)},
}
"""By the number of latent frames."""
_MOMENT_BYTES = 1.5  # a pixel and latent frame: 2 x 48 channels in float32 of 256 pixels
_FIXED_BYTES = 16 << 20  # what does not grow with the picture: converted biases, small attention buffers
_MARGIN = 1.1  # lost by allocators in gaps and rounding
_LEAST_CHOSEN = 16  # latents; below 256 pixels what is at rest decides, and seams begin to show
_STEP = 4  # latents, so that a quarter is a whole number


def peak_bytes(
    height_px: int,
    width_px: int,
    *,
    tile_latents: int | None,
    itemsize: int,
    direction: Direction = "decode",
    num_frames: int = MAX_FRAMES,
    sizes: VaeSizes = WAN22_VAE,
) -> int:
    """Most bytes that encoding or decoding one clip holds at once, without weights and without the clip itself.

    Args:
        height_px: Height of the picture in pixels, at least 1.
        width_px: Width of the picture in pixels, at least 1.
        tile_latents: Side of a tile in latents, overlapping by a quarter; None for the whole frame.
        itemsize: Bytes of a number as the VAE computes.
        direction: What is done; encoding takes about a third of what decoding takes.
        num_frames: Of the clip; decoding takes the same for any length.
        sizes: Of the VAE.

    Raises:
        ConfigError: An empty picture, or tiles that make no sense.
    """
    areas = _tile_areas(height_px, width_px, tile_latents)
    return _bytes(areas, itemsize=itemsize, direction=direction, num_frames=num_frames, sizes=sizes)


def tile_for_free_memory(
    height_px: int,
    width_px: int,
    *,
    dtype: torch.dtype,
    device: torch.device,
    direction: Direction = "decode",
    num_frames: int = MAX_FRAMES,
) -> int | None:
    """See `choose_tile`, for what is free on a CUDA device once torch has given back what it only keeps."""
    import torch

    torch.cuda.empty_cache()
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return choose_tile(
        height_px,
        width_px,
        itemsize=dtype.itemsize,
        free_bytes=free_bytes,
        direction=direction,
        num_frames=num_frames,
    )


def choose_tile(
    height_px: int,
    width_px: int,
    *,
    itemsize: int,
    free_bytes: int,
    direction: Direction = "decode",
    num_frames: int = MAX_FRAMES,
    sizes: VaeSizes = WAN22_VAE,
) -> int | None:
    """Of the tiles that fit in memory, those that cover the frame with the least overlap, which is lost work.

    Args:
        height_px: Height of the picture in pixels, at least 1.
        width_px: Width of the picture in pixels, at least 1.
        itemsize: Bytes of a number as the VAE computes.
        free_bytes: What may be used, with the VAE's weights on the device already; a tenth is kept in reserve.
        direction: What is to be done.
        num_frames: Of the clip.
        sizes: Of the VAE.

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
    needs = {
        tile: _MARGIN * _bytes(covered, itemsize=itemsize, direction=direction, num_frames=num_frames, sizes=sizes)
        for tile, covered in areas.items()
    }
    fitting = [tile for tile, need in needs.items() if need <= free_bytes]
    if fitting:
        return min(fitting, key=lambda tile: sum(areas[tile]))
    return min(needs, key=lambda tile: needs[tile])


def covered_share(height_px: int, width_px: int, tile_latents: int | None) -> float:
    """Pixels that tiles cover together, as a multiple of the picture's: what tiling costs in work."""
    return sum(_tile_areas(height_px, width_px, tile_latents)) / sum(_tile_areas(height_px, width_px, None))


def _bytes(areas: list[int], *, itemsize: int, direction: Direction, num_frames: int, sizes: VaeSizes) -> int:
    length = latent_frames(num_frames)
    cost, grown = _COSTS[direction][min(length, _LONGEST)], sizes.width(direction) / WAN22_VAE.width(direction)
    elements = grown * (cost.working * max(areas) + cost.resting * (sum(areas) - max(areas)))
    # encoding finishes a tile before the next, but all moments stay
    beside = cost.beside * sum(areas) if direction == "decode" else cost.beside * max(areas)
    moments = 0 if direction == "decode" else _MOMENT_BYTES * length * sum(areas)
    return int(elements * itemsize + beside + moments + grown**2 * _FIXED_BYTES)


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
