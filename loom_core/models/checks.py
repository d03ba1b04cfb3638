"""What must hold of latents and conditions before a model runs on them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..config.model import DiTConfig
from ..errors import ConfigError
from ..geometry import PATCH, LatentShape
from ..types import Condition


def checked_shape(config: DiTConfig, target: Tensor) -> LatentShape:
    """The size of latents [..., C, F, H, W], unless the model does not fit it.

    Raises:
        ConfigError: Other channels than the model's, or odd rows or columns.
    """
    channels, frames, height, width = target.shape[-4:]
    if channels != config.in_channels or height % PATCH or width % PATCH:
        raise ConfigError(
            f"latents of size {tuple(target.shape)}",
            expected=f"[B, {config.in_channels}, F, H, W] with even H and W",
            fix="use the Wan 2.2 VAE and a size whose sides are multiples of 32 pixels",
        )
    return LatentShape(frames, height, width)


def check_count(conditions: Sequence[Condition], batch: int) -> None:
    """Refuse conditions that are not one for each sample."""
    if len(conditions) != batch:
        raise ConfigError(f"{len(conditions)} conditions for a batch of {batch}", fix="give one condition a sample")


def check_states(config: DiTConfig, conditions: Sequence[Condition]) -> None:
    """Refuse MLLM states that are not one for each block, of the width that the projector reads."""
    if not config.has_projector:
        raise ConfigError(
            "a model without the projector of MLLM states (a plain Wan checkpoint)",
            expected="LoomVideo weights",
            fix="train it first, or load the released LoomVideo weights",
        )
    for condition in conditions:
        layers = len(condition.mllm_hidden_states)
        width = condition.mllm_hidden_states[0].shape[-1] if layers else 0
        if layers != config.num_layers or width != config.mllm_dim:
            raise ConfigError(
                f"MLLM states of {layers} layers and width {width}",
                expected=f"{config.num_layers} layers of width {config.mllm_dim}, one for each block",
                fix="encode the prompt with the MLLM that this model was trained with",
            )


def check_sources(config: DiTConfig, conditions: Sequence[Condition]) -> None:
    """Refuse a source for a model that knows none."""
    if not config.has_source and any(condition.source_latents is not None for condition in conditions):
        raise ConfigError(
            "a source for a model without a source embedding (stage 1, or plain Wan)",
            expected="weights of stage 2, stage 3 or RL",
            fix="leave the source out, or load other weights",
        )
