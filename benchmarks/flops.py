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
from loom_core.planning import flops

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


def forward_flops(workload: Workload, *, drops_references: bool = True) -> int:
    """Closed formula of `LoomDiT.forward`, one sample; see `planning.flops`."""
    return flops.forward_flops(
        workload.config,
        target=workload.target.tokens,
        references=workload.reference_tokens,
        context=workload.context_tokens,
        drops_references=drops_references,
    )


def context_flops(config: DiTConfig, num_tokens: int) -> int:
    """Closed formula of the projected contexts, keys and values of all blocks, S = `num_tokens`."""
    return flops.projector_flops(config, num_tokens) + flops.keys_values_flops(config, num_tokens)


def prepare_flops(workload: Workload) -> int:
    """Closed formula of `LoomDiT.prepare`, one sample; a missing source is embedded too, as zeros."""
    config = workload.config
    embedded = workload.target.tokens * config.has_source + workload.reference_tokens
    patches = 2 * embedded * config.hidden_size * PATCH * PATCH * config.in_channels
    return context_flops(config, workload.context_tokens) + patches
