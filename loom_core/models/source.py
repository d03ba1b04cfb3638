"""Scale-and-Add: the source video's tokens, scaled by the noise level, are added to the noised target's tokens.

tokens = patch(z_t) + timestep / 1000 * strength * patch_source(z_source); no token is added to the sequence.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn

from ..errors import ConfigError
from ..types import Condition

NUM_TRAIN_TIMESTEPS = 1000


def patchify(embedding: nn.Module, latents: Tensor) -> Tensor:
    """Latents [B, C, F, H, W] to tokens [B, F * H/2 * W/2, D] by a strided convolution."""
    return rearrange(embedding(latents), "b d f h w -> b (f h w) d")


def source_tokens(embedding: nn.Module, conditions: Sequence[Condition], target: Tensor) -> Tensor:
    """Tokens of each sample's source, before they are scaled by the noise level.

    A sample without a source gets zero latents.

    Args:
        embedding: The model's `source_patch_embedding`.
        conditions: One a sample.
        target: Latents [B, C, F, H, W] whose size, dtype and device the sources take.

    Returns:
        [B, L, D], times each sample's source strength.

    Raises:
        ConfigError: A source has another size than the target.
    """
    samples = []
    for condition in conditions:
        source = condition.source_latents
        if source is None:
            # parity: official `generate` feeds zero latents, so the embedding's bias is added all the same
            samples.append(torch.zeros_like(target[0]))
        elif source.shape != target.shape[1:]:
            raise ConfigError(
                f"source latents of size {tuple(source.shape)}",
                expected=f"those of the target, {tuple(target.shape[1:])}",
                fix="encode the source at the size and frame count of the result",
            )
        else:
            samples.append(source.to(target))
    tokens = patchify(embedding, torch.stack(samples))  # [B, L, D]
    strengths = [1.0 if condition.source_latents is None else condition.source_strength for condition in conditions]
    return tokens * tokens.new_tensor(strengths)[:, None, None]


def add_source(tokens: Tensor, source: Tensor, timestep: Tensor) -> Tensor:
    """Target tokens [B, L, D] plus source tokens [B, L, D] scaled by timestep [B] / 1000."""
    scale = timestep.to(torch.float32)[:, None, None] / NUM_TRAIN_TIMESTEPS
    # the scale stays float32: in bfloat16 0.999 would be 1
    return tokens + (source * scale).to(tokens.dtype)
