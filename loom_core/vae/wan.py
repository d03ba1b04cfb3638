"""The Wan 2.2 VAE (diffusers' `AutoencoderKLWan`) as a codec whose memory does not grow with the clip.

The VAE is causal: a latent frame needs only the last two inputs of every convolution, which it keeps in a cache. So a
clip is encoded four frames, and decoded one latent frame, at a time. Differences from diffusers' own loops:

- decoding yields each chunk as it is made, where diffusers keeps the whole clip;
- with tiles, frames are the outer loop and tiles the inner one, each with its own caches, so that tiling streams too;
- tiles are blended in pixels with weights that add up to 1, all neighbours at once.

Legend: B batch, C latent channels, F latent frames, H W latent rows and columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from ..errors import WeightsError
from ..geometry import SPATIAL_STRIDE, TEMPORAL_STRIDE, latent_frames
from .latents import (
    LATENT_CHANNELS,
    RGB,
    WAN22_STATISTICS,
    LatentStatistics,
    check_pixels,
    denormalise,
    middle_frame,
    normalise,
)
from .preview import ColourMap, calibration_pictures, fit_colour_map
from .streaming import StreamingCodec
from .tiling import SMALLEST_TILE, Tile, blend_weights, check_tiles, default_overlap, plan_tiles, window
from .wan_loading import WAN_PATCH, load_wan_vae

_LOGVAR_RANGE = (-30.0, 20.0)  # Source: diffusers `DiagonalGaussianDistribution`

Cache = list[Any]
"""Last inputs of every causal convolution, in the order in which the model meets them."""


@dataclass(frozen=True)
class Posterior:
    """What the encoder says about the latents, before normalisation.

    Args:
        mean: [B, C, F, H, W], float32.
        logvar: [B, C, F, H, W], float32, in [-30, 20].
    """

    mean: Tensor
    logvar: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """Raw latents drawn with standard normal noise of the same shape."""
        return self.mean + torch.exp(0.5 * self.logvar) * noise


class WanCodec(StreamingCodec):
    """The Wan 2.2 VAE behind the `VideoCodec` protocol.

    Args:
        model: A diffusers `AutoencoderKLWan` of Wan 2.2 form (48 latent channels, 16 x 16 x 4).
        statistics: Mean and standard deviation of its raw latents.
        tile_latents: Side of a tile in latents (16 is 256 pixels), to save memory; None works on whole frames.
        tile_overlap: Least overlap of neighbouring tiles in latents; None for a quarter of a tile.

    Raises:
        ConfigError: The tiles make no sense.
    """

    def __init__(
        self,
        model: nn.Module,
        statistics: LatentStatistics = WAN22_STATISTICS,
        *,
        tile_latents: int | None = None,
        tile_overlap: int | None = None,
    ) -> None:
        self._model: Any = model.eval().requires_grad_(False)
        self.statistics = statistics
        self._tile_overlap = tile_overlap
        self.tile_latents = tile_latents  # refuses a bad tile size now, not after minutes of sampling
        self._colour_map: ColourMap | None = None

    @classmethod
    def load(
        cls,
        path: Path | str,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        tile_latents: int | None = None,
        tile_overlap: int | None = None,
    ) -> WanCodec:
        """Load the VAE from a diffusers folder, or from one safetensors file of either naming.

        Args:
            path: A folder with config.json and safetensors (or one with such a folder `vae` in it), or a file such as
                wan2.2_vae.safetensors.
            dtype: Of weights and computation.
            device: Of weights and computation.
            tile_latents: See `WanCodec`.
            tile_overlap: See `WanCodec`.

        Raises:
            WeightsError: The file is missing, damaged, or of another model, or has wrong or non-finite tensors.
            MissingExtraError: diffusers is not installed.
            ConfigError: The tiles make no sense.
        """
        model, statistics = load_wan_vae(Path(path), dtype=dtype, device=device)
        return cls(model, statistics, tile_latents=tile_latents, tile_overlap=tile_overlap)

    @property
    def tile_latents(self) -> int | None:
        """Side of a tile in latents, at least `tiling.SMALLEST_TILE`; None works on whole frames.

        It can be set at any time (see `memory.choose_tile`); decoding that has begun goes on with the tiles that it
        began with.

        Raises:
            ConfigError: Set to tiles that make no sense; the old ones stay.
        """
        return self._tile_latents

    @tile_latents.setter
    def tile_latents(self, size: int | None) -> None:
        if size is not None:
            check_tiles(size, self._overlap(size))
        self._tile_latents = size

    def to(self, device: torch.device | str) -> None:
        """Move the weights; from then on computation and results are there.

        Not while chunks are being decoded: what is kept from one to the next stays where it is.

        Raises:
            WeightsError: The codec was released.
        """
        self._loaded().to(device)

    @torch.no_grad()
    def encode_posterior(self, pixels: Tensor) -> Posterior:
        """The encoder's mean and log-variance, before normalisation.

        Args:
            pixels: [B, 3, frames, height, width] in [-1, 1], on any device; frames 4k + 1, sides multiples of 16.
                They are moved to the codec's device four frames of a tile at a time.

        Returns:
            The posterior, on the codec's device.

        Raises:
            ConfigError: Pixels of a wrong shape.
            WeightsError: The codec was released.
        """
        check_pixels(pixels)
        model, (batch, _, frames, height, width) = self._loaded(), pixels.shape
        rows, columns = height // SPATIAL_STRIDE, width // SPATIAL_STRIDE
        moments = torch.zeros(
            batch, 2 * LATENT_CHANNELS, latent_frames(frames), rows, columns, device=model.quant_conv.weight.device
        )  # [B, 2 C, F, H, W]
        tiles = self._tiles(rows, columns)
        for tile, weight in zip(tiles, blend_weights(tiles), strict=True):
            here, there = window(tile), window(tile, scale=SPATIAL_STRIDE)
            cache = _empty_cache(model.encoder, like=model.quant_conv)
            for index, chunk in enumerate(_pixel_chunks(pixels[..., there[0], there[1]])):
                folded = rearrange(
                    chunk.to(model.quant_conv.weight), "b c f (h q) (w r) -> b (c r q) f h w", q=WAN_PATCH, r=WAN_PATCH
                )  # [B, 12, 1 or 4, height / 2, width / 2]
                encoded = model.quant_conv(model.encoder(folded, feat_cache=cache, feat_idx=[0]))  # [B, 2 C, 1, H, W]
                moments[:, :, index, here[0], here[1]] += encoded[:, :, 0].to(moments) * weight.to(moments)
        mean, logvar = moments.chunk(2, dim=1)
        return Posterior(mean, logvar.clamp(*_LOGVAR_RANGE))

    def encode(self, pixels: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Pixels to normalised latents, four frames at a time.

        Args:
            pixels: [B, 3, frames, height, width] in [-1, 1], on any device; frames 4k + 1, sides multiples of 16.
                They are moved to the codec's device four frames of a tile at a time.
            generator: Draws from the posterior as the official run does; None takes its mode.

        Returns:
            [B, C, F, H, W], float32, on the codec's device.

        Raises:
            ConfigError: Pixels of a wrong shape.
            WeightsError: The codec was released.
        """
        posterior = self.encode_posterior(pixels)
        raw = posterior.mean
        if generator is not None:
            noise = torch.randn(raw.shape, generator=generator, device=generator.device)
            raw = posterior.sample(noise.to(raw))
        return normalise(raw, self.statistics)

    def _decode_frames(self, latents: Tensor) -> Iterator[Tensor]:
        # Now, not at the first chunk: says that the weights are gone, and takes the tiles as they are set.
        return self._stream(latents, self._loaded(), self._tiles(*latents.shape[3:]))

    @torch.no_grad()
    def _stream(self, latents: Tensor, model: Any, tiles: list[Tile]) -> Iterator[Tensor]:
        parameter = model.post_quant_conv.weight  # tells dtype and device
        weights = [weight.to(parameter.device) for weight in blend_weights(tiles, scale=SPATIAL_STRIDE)]
        caches = [_empty_cache(model.decoder, like=model.post_quant_conv) for _ in tiles]
        for index in range(latents.shape[2]):
            frame = latents[:, :, index : index + 1].to(parameter.device, torch.float32)  # [B, C, 1, H, W]
            raw = denormalise(frame, self.statistics).to(parameter)
            pixels = torch.zeros(
                latents.shape[0],
                RGB,
                TEMPORAL_STRIDE if index else 1,
                *(side * SPATIAL_STRIDE for side in latents.shape[3:]),
                device=parameter.device,
            )
            for tile, weight, cache in zip(tiles, weights, caches, strict=True):
                here, there = window(tile), window(tile, scale=SPATIAL_STRIDE)
                tile_latents = model.post_quant_conv(raw[..., here[0], here[1]])
                folded = model.decoder(tile_latents, feat_cache=cache, feat_idx=[0], first_chunk=index == 0)
                tile_pixels = rearrange(
                    folded, "b (c r q) f h w -> b c f (h q) (w r)", q=WAN_PATCH, r=WAN_PATCH
                )  # [B, 3, 1 or 4, height, width]
                pixels[..., there[0], there[1]] += tile_pixels.to(pixels).clamp(-1, 1) * weight
            yield pixels

    def preview(self, latents: Tensor) -> Tensor:
        """Mean colours of the middle frame's blocks, by a linear map fitted once to this VAE (see `preview.py`).

        The fit, at the first call, encodes three 192 x 192 pictures where the codec is, so ask for a preview before
        you move the codec off a GPU; no preview ever decodes.

        Args:
            latents: [C, F, H, W], normalised, on any device.

        Returns:
            uint8 [H, W, 3], RGB, on the CPU.

        Raises:
            ConfigError: Latents of a wrong shape.
            WeightsError: The codec was released before its first preview.
        """
        middle = middle_frame(latents)
        if self._colour_map is None:
            pictures = calibration_pictures()
            self._colour_map = fit_colour_map(self.encode(pictures).cpu(), pictures)
        return self._colour_map.colours(latents[:, middle].detach().cpu())

    def release(self) -> None:
        """Free the weights. Further encoding and decoding is refused; a fitted preview goes on working."""
        self._model = None

    def _loaded(self) -> Any:
        if self._model is None:
            raise WeightsError("a codec whose weights were released", expected="a loaded one", fix="load it again")
        return self._model

    def _overlap(self, size: int) -> int:
        return default_overlap(size) if self._tile_overlap is None else self._tile_overlap

    def _tiles(self, height: int, width: int) -> list[Tile]:
        size = self.tile_latents
        if size is None:
            return plan_tiles(height, width, size=max(height, width, SMALLEST_TILE), overlap=0)
        return plan_tiles(height, width, size=size, overlap=self._overlap(size))


def _empty_cache(part: nn.Module, *, like: nn.Module) -> Cache:
    """Room for the inputs of every causal convolution (a module of `like`'s class) in encoder or decoder."""
    return [None] * sum(isinstance(module, type(like)) for module in part.modules())


def _pixel_chunks(pixels: Tensor) -> Iterator[Tensor]:
    """The first frame, then four at a time."""
    yield pixels[:, :, :1]
    yield from pixels[:, :, 1:].split(TEMPORAL_STRIDE, dim=2) if pixels.shape[2] > 1 else ()
