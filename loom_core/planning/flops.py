"""Closed formulas of the floating point operations of the DiT, two a multiply-add; elementwise work is not counted.

The benchmarks hold them against torch's counter, which they must equal to the last digit.

Legend: L target tokens, R reference tokens, S context tokens, D width.
"""

from __future__ import annotations

from ..config.model import DiTConfig
from ..geometry import PATCH
from .sizes import MODULATION_ROWS, PROJECTOR_EXPANSION


def forward_flops(
    config: DiTConfig, *, target: int, references: int, context: int, drops_references: bool = True
) -> int:
    """Operations of `LoomDiT.forward` on one sample whose conditions are prepared.

    Args:
        config: Of the model.
        target: L.
        references: R.
        context: S.
        drops_references: Whether the last block makes the references' keys and values alone, as in every forward pass
            but that of a pack.
    """
    dim, tokens = config.hidden_size, target + references
    time = config.time_embed_dim * dim + dim * dim + dim * MODULATION_ROWS * dim
    keys_values = 2 * dim * dim  # of a token
    self_attention = 2 * dim * dim + 2 * tokens * dim  # q and o of a token; then scores and mixing
    cross_attention = 2 * dim * dim + 2 * context * dim  # the same; keys and values are prepared
    rest = self_attention + cross_attention + 2 * dim * config.ffn_dim
    dropped = references * rest if drops_references else 0
    ends = target * dim * PATCH * PATCH * (config.in_channels + config.out_channels)
    return 2 * (time + ends + config.num_layers * tokens * (keys_values + rest) - dropped)


def keys_values_flops(config: DiTConfig, context: int) -> int:
    """Operations of all blocks' keys and values of S projected tokens."""
    return 2 * config.num_layers * context * 2 * config.hidden_size**2


def projector_flops(config: DiTConfig, context: int) -> int:
    """Operations of projecting S tokens for all blocks."""
    dim = config.hidden_size
    return 2 * config.num_layers * context * PROJECTOR_EXPANSION * dim * (config.mllm_dim + dim)
