"""Cutting a picture into overlapping tiles, and the weights that blend them without a seam.

A tile is shorter than the field of view of a VAE, so its result is least sure at its rim. There the weight of a tile
falls linearly to zero while its neighbour's rises.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from ..errors import ConfigError

if TYPE_CHECKING:  # plans are made without torch
    from torch import Tensor

SMALLEST_TILE = 4
"""Latents a side of the smallest tile: the least that overlaps its neighbours unless told otherwise."""


@dataclass(frozen=True)
class Span:
    """A tile along one side, in latents.

    Args:
        start: First latent.
        length: Number of latents.
        overlap_before: How many of them the tile before covers too.
        overlap_after: How many of them the tile after covers too.
    """

    start: int
    length: int
    overlap_before: int
    overlap_after: int


@dataclass(frozen=True)
class Tile:
    """A rectangle of the latents."""

    rows: Span
    columns: Span


def plan_spans(extent: int, *, size: int, overlap: int) -> list[Span]:
    """Cut one side into tiles of equal length that reach from end to end.

    Args:
        extent: Length of the side, at least 1.
        size: Length of a tile, at least 1; a shorter side is one tile.
        overlap: Least overlap of neighbours, from 0 to half of `size`; the tiles are spaced evenly, so it may be more.

    Returns:
        The tiles from the first to the last.
    """
    if extent <= size:
        return [Span(0, extent, 0, 0)]
    count = -(-(extent - overlap) // (size - overlap))
    starts = [index * (extent - size) // (count - 1) for index in range(count)]
    shared = [start + size - following for start, following in pairwise(starts)]
    return [
        Span(start, size, before, after)
        for start, before, after in zip(starts, [0, *shared], [*shared, 0], strict=True)
    ]


def default_overlap(size: int) -> int:
    """Overlap of neighbouring tiles of `size` latents that a codec uses unless told otherwise: a quarter."""
    return size // 4


def check_tiles(size: int, overlap: int) -> None:
    """Refuse tiles that cannot be blended.

    Args:
        size: Rows and columns of a tile, in latents.
        overlap: Least overlap of neighbours, in latents.

    Raises:
        ConfigError: `size` is below `SMALLEST_TILE`, or `overlap` is not between 0 and half of `size`.
    """
    if size < SMALLEST_TILE or not 0 <= overlap <= size // 2:
        raise ConfigError(
            f"tiles of {size} latents that overlap by {overlap}",
            expected=f"at least {SMALLEST_TILE} latents, and an overlap from 0 to half of them",
            fix="use tiles of 16 latents (256 pixels) or more, with an overlap of a quarter",
        )


def plan_tiles(height: int, width: int, *, size: int, overlap: int) -> list[Tile]:
    """Cut `height` x `width` latents into overlapping tiles, row by row.

    Args:
        height: Rows, at least 1.
        width: Columns, at least 1.
        size: Rows and columns of a tile.
        overlap: Least overlap of neighbours.

    Raises:
        ConfigError: `size` is below `SMALLEST_TILE`, or `overlap` is not between 0 and half of `size`.
    """
    check_tiles(size, overlap)
    return [
        Tile(rows, columns)
        for rows in plan_spans(height, size=size, overlap=overlap)
        for columns in plan_spans(width, size=size, overlap=overlap)
    ]


def blend_ramp(span: Span, *, scale: int = 1) -> Tensor:
    """Weight of a tile along one side: 1 inside, linear in the overlaps.

    Args:
        span: The tile.
        scale: Samples a latent (16 for pixels, 1 for latents).

    Returns:
        [span.length * scale], float32, each above 0.
    """
    import torch

    ramp = torch.ones(span.length * scale)
    if before := span.overlap_before * scale:
        ramp[:before] *= (torch.arange(before) + 0.5) / before
    if after := span.overlap_after * scale:
        ramp[-after:] *= (torch.arange(after, 0, -1) - 0.5) / after
    return ramp


def blend_weights(tiles: list[Tile], *, scale: int = 1) -> list[Tensor]:
    """Weights of all tiles of a plan, which add up to 1 at every sample.

    Args:
        tiles: A plan that covers the picture.
        scale: Samples a latent (16 for pixels, 1 for latents).

    Returns:
        [rows * scale, columns * scale] a tile, float32.
    """
    import torch

    weights = [torch.outer(blend_ramp(tile.rows, scale=scale), blend_ramp(tile.columns, scale=scale)) for tile in tiles]
    windows = [window(tile, scale=scale) for tile in tiles]
    total = torch.zeros(windows[-1][0].stop, windows[-1][1].stop)
    for where, weight in zip(windows, weights, strict=True):
        total[where] += weight
    return [weight / total[where] for where, weight in zip(windows, weights, strict=True)]


def window(tile: Tile, *, scale: int = 1) -> tuple[slice, slice]:
    """Where a tile lies, as slices of rows and columns, in samples."""
    rows, columns = (
        slice(span.start * scale, (span.start + span.length) * scale) for span in (tile.rows, tile.columns)
    )
    return rows, columns
