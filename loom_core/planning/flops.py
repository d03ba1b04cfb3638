"""Closed formulas of the floating point operations of the DiT, two a multiply-add; elementwise work is not counted.

The benchmarks hold them against torch's counter, which they must equal to the last digit.

Legend: L target tokens, R reference tokens, S context tokens, D width.
"""

from __future__ import annotations

from ..config.model import DiTConfig
from ..geometry import PATCH
from .sizes import MODULATION_ROWS, PROJECTOR_EXPANSION


def forward_flops(config: DiTConfig, *, target: int, references: int, context: int) -> int:
    """Operations of `LoomDiT.forward` on one sample whose conditions are prepared.

    Args:
        config: Of the model.
        target: L.
        references: R.
        context: S.
    """
    dim, tokens = config.hidden_size, target + references
    time = config.time_embed_dim * dim + dim * dim + dim * MODULATION_ROWS * dim
    self_attention = tokens * 4 * dim * dim + 2 * tokens * tokens * dim  # q, k, v, o; then scores and mixing
    cross_attention = tokens * 2 * dim * dim + 2 * tokens * context * dim  # q and o; keys and values are prepared
    feed_forward = tokens * 2 * dim * config.ffn_dim
    ends = target * dim * PATCH * PATCH * (config.in_channels + config.out_channels)
    return 2 * (time + ends + config.num_layers * (self_attention + cross_attention + feed_forward))


def keys_values_flops(config: DiTConfig, context: int) -> int:
    """Operations of all blocks' keys and values of S projected tokens."""
    return 2 * config.num_layers * context * 2 * config.hidden_size**2


def projector_flops(config: DiTConfig, context: int) -> int:
    """Operations of projecting S tokens for all blocks."""
    dim = config.hidden_size
    return 2 * config.num_layers * context * PROJECTOR_EXPANSION * dim * (config.mllm_dim + dim)
