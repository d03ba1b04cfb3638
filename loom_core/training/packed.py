"""The loss of one pack: what is drawn for each sample, the packed forward pass, and squared errors by sample.

Every sample draws its noise level and its noise from a generator of its own, seeded by its place in the run, so that
nothing depends on which samples share its pack or on which rank it lands.

Source: official `LoomVideo.forward_loss`. Differences: draws belong to samples, not to ranks; errors are
returned as sums, since the mean of means over unequal packs is not the mean over elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..data.sample import EncodedSample
from ..data.seeds import seeded_generator
from ..models.dit import LoomDiT
from ..models.source import NUM_TRAIN_TIMESTEPS
from ..sampling.schedule import BASE_TOKENS, token_shift
from ..types import Condition
from .flow import noised_latents, squared_errors, velocity_target
from .timesteps import noise_levels


@dataclass(frozen=True)
class Draws:
    """What is drawn for the samples of a pack.

    Args:
        levels: Noise levels t, float32 [N], in (0, 1).
        noises: Noise of each sample, float32 [C, F, H, W].
    """

    levels: Tensor
    noises: tuple[Tensor, ...]


def draw(
    samples: Sequence[EncodedSample], *, shift_scale: float, base_tokens: int = BASE_TOKENS, times: int = 1
) -> Draws:
    """Draw noise levels and noises on the CPU, where they are the same for every device.

    Args:
        samples: As they were **before** dropout, which takes no part of the shift away.
        times: Draws for each sample, side by side.
        shift_scale: How much the shift grows with the number of tokens: 0.65 in stage 1, 0.5 in stages 2 and 3.
        base_tokens: Number of tokens from which on it grows.
    """
    normal, noises = [], []
    for sample in samples:
        generator = seeded_generator(sample.seed, "noise")
        for _ in range(times):
            normal.append(torch.randn((), generator=generator))
            noises.append(torch.randn(sample.target.shape, generator=generator))
    shifts = torch.tensor(
        [token_shift(sample.shift_tokens, scale=shift_scale, base_tokens=base_tokens) for sample in samples]
    ).repeat_interleave(times)
    return Draws(noise_levels(torch.stack(normal), shifts), tuple(noises))


def pack_errors(
    model: LoomDiT,
    targets: Sequence[Tensor],
    conditions: Sequence[Condition],
    draws: Draws,
    *,
    checkpointing: bool = False,
    rounded_timesteps: bool = False,
) -> Tensor:
    """Noise the targets, predict, and sum the squared errors.

    Args:
        model: The DiT, or a wrapper that shards it; called as a module, so that hooks fire.
        targets: Clean latents of each sample, [C, F, H, W].
        conditions: Of each sample, after dropout.
        draws: See `draw`.
        checkpointing: See `LoomDiT.forward`.
        rounded_timesteps: Round the time that the time embedding is made of to bfloat16, as the official run does (a
            grid of 4 above 512); the scale of the source keeps the exact one there as well.

    Returns:
        Sum of squared errors of each sample, float32 [N], with gradients; the loss of any number of packs is the sum
        of all of these over the number of all their target elements.
    """
    device = next(model.parameters()).device
    levels = draws.levels.to(device)
    clean = [target.to(device, torch.float32) for target in targets]
    noises = [noise.to(device) for noise in draws.noises]
    noised = [noised_latents(*parts) for parts in zip(clean, noises, levels, strict=True)]
    dtype = next(model.parameters()).dtype
    velocities = model(
        [sample.to(dtype) for sample in noised],
        levels * NUM_TRAIN_TIMESTEPS,
        conditions,
        checkpointing=checkpointing,
        rounded_time=rounded_timesteps,
    )
    return squared_errors(velocities, [velocity_target(*pair) for pair in zip(clean, noises, strict=True)])
