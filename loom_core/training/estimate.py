"""How much memory and disk a run needs, by arithmetic; activations are an estimate."""

from __future__ import annotations

from dataclasses import dataclass

from ..config.model import DiTConfig
from ..config.training import TrainingConfig
from ..models.dit import LoomDiT

_FLOAT, _HALF = 4, 2
_WIDTHS_KEPT = 14
"""Tensors as wide as the model that a block keeps for its backward pass: norms, q k v, rotated, mixed, residuals."""
_FFN_KEPT = 2
"""Tensors as wide as the feed-forward part: before and after its activation."""


@dataclass(frozen=True)
class Needs:
    """Bytes that a run needs on one device, unsharded.

    Args:
        parameters: Number of trained weights.
        weights: Of the model, and its float32 copy if it computes in bfloat16.
        gradients: Of one step.
        optimiser: Both moments.
        ema: Averaged weights.
        activations: Kept for the backward pass of a full pack, about.
        checkpoint: On disk, one.
    """

    parameters: int
    weights: int
    gradients: int
    optimiser: int
    ema: int
    activations: int
    checkpoint: int

    @property
    def memory(self) -> int:
        """All but the disk; the frozen parts come on top."""
        return self.weights + self.gradients + self.optimiser + self.ema + self.activations


def training_needs(config: TrainingConfig) -> Needs:
    """What a run needs beside its frozen parts."""
    sizes = config.model.dit_config()
    count = sum(weight.numel() for weight in LoomDiT(sizes, device="meta").parameters())
    is_half = config.precision == "bf16"
    masters = _FLOAT * count if is_half else 0
    weights = (_HALF if is_half else _FLOAT) * count
    moments = 2 * _FLOAT * count
    ema = _FLOAT * count if config.ema else 0
    return Needs(
        parameters=count,
        weights=weights + masters,
        gradients=_FLOAT * count,
        optimiser=moments,
        ema=ema,
        activations=_activations(sizes, config),
        checkpoint=weights + masters + moments + ema,
    )


def _activations(sizes: DiTConfig, config: TrainingConfig) -> int:
    width = _FLOAT if config.precision == "fp32" else _HALF
    tokens = config.data.token_budget
    of_a_block = tokens * width * (_WIDTHS_KEPT * sizes.hidden_size + _FFN_KEPT * sizes.ffn_dim)
    if config.gradient_checkpointing:
        return sizes.num_layers * tokens * width * sizes.hidden_size + of_a_block
    return sizes.num_layers * of_a_block
