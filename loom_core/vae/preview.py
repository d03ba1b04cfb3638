"""Colours of latents without decoding: a linear map from a latent to the mean colour of its pixels.

For a VAE whose map nobody has written down it is fitted: encode a few pictures of smooth random colours, and regress
their block means on their latents (ridge regression, closed form). The pictures are deterministic, so is the map.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange, reduce
from torch import Tensor
from torch.nn import functional

from ..geometry import SPATIAL_STRIDE
from .latents import RGB

_RIDGE = 1e-2  # latents have unit variance: pulls the weights of channels that say nothing about colour to zero
_CALIBRATION_SIDE = 192  # pixels


@dataclass(frozen=True)
class ColourMap:
    """Latents [C] to a colour: `weight @ latents + bias`.

    Args:
        weight: [3, C].
        bias: [3].
    """

    weight: Tensor
    bias: Tensor

    def colours(self, latents: Tensor) -> Tensor:
        """Colours of one frame's latents.

        Args:
            latents: [C, H, W], normalised.

        Returns:
            uint8 [H, W, 3], RGB.
        """
        latents = latents.to(self.weight)
        pixels = torch.einsum("rc,chw->hwr", self.weight, latents) + self.bias  # [H, W, 3]
        return ((pixels + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def calibration_pictures(count: int = 3) -> Tensor:
    """Random colours that vary at every scale from 8 pixels up, as in photographs.

    Returns:
        [count, 3, 1, 192, 192] in [-1, 1], the same at every call.
    """
    generator = torch.Generator().manual_seed(0)
    side = _CALIBRATION_SIDE
    picture = torch.zeros(count, RGB, side, side)
    for scale in (8, 16, 48, 192):
        grid = torch.randn(count, RGB + 1, side // scale + 1, side // scale + 1, generator=generator)
        coarse = 0.3 * grid[:, :RGB] + 0.3 * grid[:, RGB:]  # a shared grey part: colours of a scene go together
        picture += functional.interpolate(coarse, size=(side, side), mode="bilinear", align_corners=True)
    return picture.clamp(-1, 1)[:, :, None]  # [count, 3, 1, side, side]


def fit_colour_map(latents: Tensor, pixels: Tensor) -> ColourMap:
    """Ridge regression from latents to the mean colours of their pixels.

    Args:
        latents: [B, C, 1, H, W], normalised, of `pixels`.
        pixels: [B, 3, 1, 16 H, 16 W] in [-1, 1].
    """
    inputs = rearrange(latents.double(), "b c 1 h w -> (b h w) c")
    means = reduce(
        pixels.double(), "b r 1 (h p) (w q) -> (b h w) r", "mean", p=SPATIAL_STRIDE, q=SPATIAL_STRIDE
    )  # [N, 3]
    input_mean, colour_mean = inputs.mean(dim=0), means.mean(dim=0)
    centred = inputs - input_mean
    gram = centred.mT @ centred + _RIDGE * len(inputs) * torch.eye(inputs.shape[1], dtype=inputs.dtype)
    weight = torch.linalg.solve(gram, centred.mT @ (means - colour_mean)).mT  # [3, C]
    return ColourMap(weight.float(), (colour_mean - weight @ input_mean).float())
