"""Floating point operations of the DiT: counted while it runs, and from a closed formula.

Both count matrix products, convolutions and attention, two operations a multiply-add. Elementwise work is not counted.

Legend: L target tokens, R reference tokens, S context tokens, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from loom_core.config.model import DiTConfig
from loom_core.geometry import PATCH
from loom_core.models.block import NUM_ROWS
from loom_core.models.projector import EXPANSION

from .workloads import Workload


def _attention_flops(query: Any, key: Any, value: Any, *_: Any, out_val: Any = None, **__: Any) -> int:  # noqa: ARG001
    return sdpa_flop_count(query, key, value)


def count_flops(function: Callable[[], object]) -> int:
    """Operations that a call makes.

    torch's counter knows the attention kernels of GPUs but counts nothing for that of the CPU, so it is told here.

    Args:
        function: Runs without gradients, on any device.
    """
    formulas = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops}
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=formulas) as counter:
        function()
    return counter.get_total_flops()


def forward_flops(workload: Workload) -> int:
    """Closed formula of `LoomDiT.forward`, one sample."""
    config, dim = workload.config, workload.config.hidden_size
    target, context = workload.target.tokens, workload.context_tokens
    tokens = target + workload.reference_tokens
    time = config.time_embed_dim * dim + dim * dim + dim * NUM_ROWS * dim
    self_attention = tokens * 4 * dim * dim + 2 * tokens * tokens * dim  # q, k, v, o; then scores and mixing
    cross_attention = tokens * 2 * dim * dim + 2 * tokens * context * dim  # q and o; keys and values are prepared
    feed_forward = tokens * 2 * dim * config.ffn_dim
    ends = target * dim * PATCH * PATCH * (config.in_channels + config.out_channels)
    return 2 * (time + ends + config.num_layers * (self_attention + cross_attention + feed_forward))


def context_flops(config: DiTConfig, num_tokens: int) -> int:
    """Closed formula of the projected contexts, keys and values of all blocks, S = `num_tokens`."""
    dim = config.hidden_size
    projector = config.mllm_dim * EXPANSION * dim + EXPANSION * dim * dim
    return 2 * config.num_layers * num_tokens * (projector + 2 * dim * dim)


def prepare_flops(workload: Workload) -> int:
    """Closed formula of `LoomDiT.prepare`, one sample; a missing source is embedded too, as zeros."""
    config = workload.config
    embedded = workload.target.tokens * config.has_source + workload.reference_tokens
    patches = 2 * embedded * config.hidden_size * PATCH * PATCH * config.in_channels
    return context_flops(config, workload.context_tokens) + patches
