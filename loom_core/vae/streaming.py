"""What codecs that decode a latent frame at a time have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor

from ..geometry import SPATIAL_STRIDE, TEMPORAL_STRIDE
from .latents import LATENT_CHANNELS, RGB, check_latents


class StreamingCodec(ABC):
    """The decoding half of the `VideoCodec` protocol, on top of a generator of chunks."""

    latent_channels = LATENT_CHANNELS

    @abstractmethod
    def to(self, device: torch.device | str) -> None:
        """Move the weights; see `VideoCodec`."""

    @abstractmethod
    def _decode_frames(self, latents: Tensor) -> Iterator[Tensor]:
        """Yield the pixels of each latent frame; `latents` are checked already."""

    def decode_chunks(self, latents: Tensor) -> Iterator[Tensor]:
        """The same as `decode`, a latent frame at a time; nothing is computed before the first chunk is asked for.

        Args:
            latents: [B, C, F, H, W], normalised, on any device.

        Returns:
            Pixels [B, 3, 1 or 4, height, width] in [-1, 1], float32, in order, on the codec's device.

        Raises:
            ConfigError: Latents of a wrong shape (at the call, not at the first chunk).
            WeightsError: The codec's weights were released.
        """
        check_latents(latents)
        return self._decode_frames(latents)

    def decode(self, latents: Tensor) -> Tensor:
        """Normalised latents [B, C, F, H, W] to pixels [B, 3, frames, height, width] in [-1, 1], float32.

        The pixels are on the codec's device, whatever that of the latents.

        Raises:
            ConfigError: Latents of a wrong shape.
            WeightsError: The codec's weights were released.
        """
        chunks = self.decode_chunks(latents)
        first = next(chunks)
        batch, _, latent_frames, height, width = latents.shape
        frames = 1 + TEMPORAL_STRIDE * (latent_frames - 1)
        pixels = first.new_empty(batch, RGB, frames, height * SPATIAL_STRIDE, width * SPATIAL_STRIDE)
        pixels[:, :, :1] = first
        for start, chunk in zip(range(1, frames, TEMPORAL_STRIDE), chunks, strict=True):
            pixels[:, :, start : start + TEMPORAL_STRIDE] = chunk
        return pixels
