"""Scale-and-Add: the source video's tokens, scaled by the noise level, are added to the noised target's tokens.

tokens = patch(z_t) + timestep / 1000 * strength * patch_source(z_source); no token is added to the sequence. The
strength is 1 as trained; it may be any number, follow a curve over the noise level, and differ from token to token.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from einops import rearrange
from torch import Tensor, nn

from ..errors import ConfigError
from ..geometry import PATCH, LatentShape
from ..types import Condition

NUM_TRAIN_TIMESTEPS = 1000

Curve = Sequence[tuple[float, float]]
"""Points (sigma, factor), falling in sigma."""


def patchify(embedding: nn.Module, latents: Tensor) -> Tensor:
    """Latents [B, C, F, H, W] to tokens [B, F * H/2 * W/2, D] by a strided convolution."""
    # one copy here: left as a view, channels outermost, every sum of the blocks would keep that order, and every norm
    # and matrix product make a copy of its own
    return rearrange(embedding(latents), "b d f h w -> b (f h w) d").contiguous()


def source_of(condition: Condition, target: Tensor) -> Tensor:
    """A sample's source latents, zeros without one.

    Args:
        condition: Of the sample.
        target: Latents [C, F, H, W] whose size, dtype and device the source takes.

    Raises:
        ConfigError: The source has another size.
    """
    source = condition.source_latents
    if source is None:
        # parity: official `generate` feeds zero latents, so the embedding's bias is added all the same
        return torch.zeros_like(target)
    if source.shape != target.shape:
        raise ConfigError(
            f"source latents of size {tuple(source.shape)}",
            expected=f"those of the target, {tuple(target.shape)}",
            fix="encode the source at the size and frame count of the result",
        )
    return source.to(target)


def source_tokens(embedding: nn.Module, conditions: Sequence[Condition], target: Tensor) -> Tensor:
    """Tokens of each sample's source, before they are scaled by the noise level.

    A sample without a source gets zero latents.

    Args:
        embedding: The model's `source_patch_embedding`.
        conditions: One a sample.
        target: Latents [B, C, F, H, W] whose size, dtype and device the sources take.

    Returns:
        [B, L, D], times each sample's source strength and mask.

    Raises:
        ConfigError: A source or its mask has another size than the target, or a curve is none.
    """
    samples = [source_of(condition, target[0]) for condition in conditions]
    tokens = patchify(embedding, torch.stack(samples))  # [B, L, D]
    strengths = [1.0 if condition.source_latents is None else condition.source_strength for condition in conditions]
    tokens = tokens * tokens.new_tensor(strengths)[:, None, None]
    masks = [_flat_mask(condition, tokens, LatentShape(*target.shape[2:])) for condition in conditions]
    if all(mask is None for mask in masks):
        return tokens
    ones = tokens.new_ones(tokens.shape[1])
    return tokens * torch.stack([ones if mask is None else mask for mask in masks])[..., None]


def source_curves(conditions: Sequence[Condition]) -> tuple[Curve, ...]:
    """Each sample's curve, empty for a sample without a source; none at all if every curve is empty.

    Raises:
        ConfigError: A curve does not fall in sigma, leaves [0, 1], or has a factor that is no number.
    """
    curves = tuple(() if condition.source_latents is None else condition.source_curve for condition in conditions)
    for curve in curves:
        sigmas = [sigma for sigma, _ in curve]
        falls = all(first > second for first, second in pairwise(sigmas))
        if not falls or not all(0 <= sigma <= 1 and math.isfinite(factor) for sigma, factor in curve):
            raise ConfigError(
                f"a strength curve {list(curve)}",
                expected="points (sigma, factor), each sigma below the one before, within 1 and 0",
                fix="sort the points by sigma, from 1 down to 0",
            )
    return curves if any(curves) else ()


def curve_factor(curve: Curve, sigma: Tensor) -> Tensor:
    """The factor of a curve at a noise level; beyond its ends that of the nearest point, 1 without points.

    Args:
        curve: Points with straight lines between them.
        sigma: Noise levels in [0, 1], of any shape.

    Returns:
        float32, of sigma's shape.
    """
    sigma = sigma.to(torch.float32)
    points = list(curve)[::-1] or [(0.0, 1.0)]  # rising in sigma
    factor = torch.full_like(sigma, points[0][1])
    for (low, start), (high, end) in pairwise(points):
        factor = factor + (end - start) * ((sigma - low) / (high - low)).clamp(0, 1)
    return factor


def add_source(tokens: Tensor, source: Tensor, timestep: Tensor, curves: Sequence[Curve] = ()) -> Tensor:
    """Target tokens plus source tokens scaled by the noise level.

    Args:
        tokens: [B, L, D].
        source: [B, L, D].
        timestep: [B], 0 to 1000.
        curves: Each sample's, from `source_curves`.
    """
    sigma = timestep.to(torch.float32) / NUM_TRAIN_TIMESTEPS
    scale = sigma
    if curves:
        scale = scale * torch.stack([curve_factor(curve, level) for curve, level in zip(curves, sigma, strict=True)])
    # the scale stays float32: in bfloat16 0.999 would be 1
    return tokens + (source * scale[:, None, None]).to(tokens.dtype)


def source_factor(condition: Condition, timestep: Tensor, shape: LatentShape) -> Tensor:
    """What one sample's source tokens are multiplied by: noise level, strength, curve and mask.

    Args:
        condition: Of the sample.
        timestep: Scalar, 0 to 1000.
        shape: Size of the target.

    Returns:
        float32, [L] or [1].

    Raises:
        ConfigError: The mask has another size, or the curve is none.
    """
    sigma = timestep.to(torch.float32).reshape(1) / NUM_TRAIN_TIMESTEPS
    if condition.source_latents is None:
        return sigma
    factor = sigma * condition.source_strength
    for curve in source_curves([condition]):
        factor = factor * curve_factor(curve, sigma)
    mask = _flat_mask(condition, sigma, shape)
    return factor if mask is None else factor * mask


def _flat_mask(condition: Condition, like: Tensor, shape: LatentShape) -> Tensor | None:
    """A sample's mask as [L], in the dtype and on the device of `like`."""
    mask = condition.source_mask
    if mask is None or condition.source_latents is None:
        return None
    expected = (shape.frames, shape.height // PATCH, shape.width // PATCH)
    if tuple(mask.shape) != expected:
        raise ConfigError(
            f"a source mask of size {tuple(mask.shape)}",
            expected=f"one number a token, {expected}",
            fix="make the mask for the latents of the source",
        )
    return mask.to(like).flatten()
