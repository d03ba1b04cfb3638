"""What every codec shares about its tensors: latent statistics and shape checks.

Legend: B batch, C latent channels, F latent frames, H W latent rows and columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ConfigError
from ..geometry import SPATIAL_STRIDE, check_frames

LATENT_CHANNELS = 48  # of the Wan 2.2 VAE, and of every codec the DiT can be used with
RGB = 3
_CLIP_DIMS = 5  # batch, channels, frames, height, width


@dataclass(frozen=True)
class LatentStatistics:
    """Mean and standard deviation of a VAE's raw latents, a number a channel.

    Args:
        mean: C numbers.
        std: C numbers above 0.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]


WAN22_STATISTICS = LatentStatistics(
    mean=(
        -0.2289, -0.0052, -0.1323, -0.2339, -0.2799, 0.0174, 0.1838, 0.1557, -0.1382, 0.0542, 0.2813, 0.0891,
        0.1570, -0.0098, 0.0375, -0.1825, -0.2246, -0.1207, -0.0698, 0.5109, 0.2665, -0.2108, -0.2158, 0.2502,
        -0.2055, -0.0322, 0.1109, 0.1567, -0.0729, 0.0899, -0.2799, -0.1230, -0.0313, -0.1649, 0.0117, 0.0723,
        -0.2839, -0.2083, -0.0520, 0.3748, 0.0152, 0.1957, 0.1433, -0.2944, 0.3573, -0.0548, -0.1681, -0.0667,
    ),
    std=(
        0.4765, 1.0364, 0.4514, 1.1677, 0.5313, 0.4990, 0.4818, 0.5013, 0.8158, 1.0344, 0.5894, 1.0901,
        0.6885, 0.6165, 0.8454, 0.4978, 0.5759, 0.3523, 0.7135, 0.6804, 0.5833, 1.4146, 0.8986, 0.5659,
        0.7069, 0.5338, 0.4889, 0.4917, 0.4069, 0.4999, 0.6866, 0.4093, 0.5709, 0.6065, 0.6415, 0.4944,
        0.5726, 1.2042, 0.5458, 1.6887, 0.3971, 1.0600, 0.3943, 0.5537, 0.5444, 0.4089, 0.7468, 0.7744,
    ),
)  # fmt: skip
"""Of the released Wan 2.2 VAE. Source: `Wan2_2_VAE` in Wan-Video/Wan2.2 `wan/modules/vae2_2.py`."""


def _per_channel(values: tuple[float, ...], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).reshape(1, -1, 1, 1, 1)  # [1, C, 1, 1, 1]


def normalise(raw_latents: Tensor, statistics: LatentStatistics) -> Tensor:
    """Raw VAE latents [B, C, F, H, W] to the zero-mean, unit-variance latents that the DiT works on."""
    return (raw_latents - _per_channel(statistics.mean, raw_latents)) / _per_channel(statistics.std, raw_latents)


def denormalise(latents: Tensor, statistics: LatentStatistics) -> Tensor:
    """Latents of the DiT [B, C, F, H, W] back to the VAE's own scale."""
    return latents * _per_channel(statistics.std, latents) + _per_channel(statistics.mean, latents)


def check_pixels(pixels: Tensor) -> None:
    """Refuse pixels that no codec of Wan geometry can encode.

    Args:
        pixels: Should be [B, 3, frames, height, width], floating point in [-1, 1].

    Raises:
        ConfigError: Wrong dimensions, colours or dtype, frames not 4k + 1, or a side not a multiple of 16.
    """
    if pixels.dim() != _CLIP_DIMS or pixels.shape[1] != RGB or not pixels.is_floating_point():
        raise ConfigError(
            f"pixels of shape {tuple(pixels.shape)} and {pixels.dtype}",
            expected="floating-point pixels [batch, 3, frames, height, width] in [-1, 1]",
            fix="rearrange the clip, and map 0..255 to -1..1",
        )
    frames, height, width = pixels.shape[2:]
    check_frames(frames)
    if min(height, width) < SPATIAL_STRIDE or height % SPATIAL_STRIDE or width % SPATIAL_STRIDE:
        near_width, near_height = (
            max(SPATIAL_STRIDE, (side + SPATIAL_STRIDE // 2) // SPATIAL_STRIDE * SPATIAL_STRIDE)
            for side in (width, height)
        )
        raise ConfigError(
            f"size {width}x{height}",
            expected=f"width and height to be multiples of {SPATIAL_STRIDE} pixels",
            fix=f"use {near_width}x{near_height}",
        )


def check_latents(latents: Tensor, *, channels: int = LATENT_CHANNELS) -> None:
    """Refuse latents that the codec cannot decode.

    Args:
        latents: Should be [B, C, F, H, W], floating point, with no empty dimension.
        channels: C of the codec.

    Raises:
        ConfigError: Wrong dimensions, channels or dtype.
    """
    if (
        latents.dim() != _CLIP_DIMS
        or latents.shape[1] != channels
        or latents.numel() == 0
        or not latents.is_floating_point()
    ):
        raise ConfigError(
            f"latents of shape {tuple(latents.shape)} and {latents.dtype}",
            expected=f"floating-point latents [batch, {channels}, frames, height, width]",
            fix="decode latents of a model of this latent space (16 channels belong to Wan 2.1)",
        )


def middle_frame(latents: Tensor, *, channels: int = LATENT_CHANNELS) -> int:
    """Index of the frame that a preview shows, for latents [C, F, H, W].

    Raises:
        ConfigError: Wrong dimensions, channels or dtype.
    """
    check_latents(latents[None], channels=channels)
    return latents.shape[1] // 2
