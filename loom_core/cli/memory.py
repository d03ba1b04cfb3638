"""The memory that each GPU of a training run needs, as a table over numbers of GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..config.training import TrainingConfig

NUMBERS = (1, 2, 4, 8, 16, 32, 64)
"""Of GPUs, one process on each."""
_WIDTH = 12


def memory_lines(config: TrainingConfig, numbers: Sequence[int] = NUMBERS) -> list[str]:
    """A table in a few lines, from the config alone: neither weights nor data need be there.

    Args:
        config: Of the run.
        numbers: Of GPUs.
    """
    from ..training.frozen import FrozenFiles
    from ..training.rank_memory import rank_needs
    from ..weights.inspection import format_bytes

    files = FrozenFiles.of(config)
    frozen = (files.mllm, files.codec) if config.mllm_stays else (files.codec,)
    is_muon = config.optimiser.kind == "muon"
    rows = rank_needs(config, numbers[:1] if is_muon else numbers, frozen=frozen)
    sizes, first = config.model.dit_config(), rows[0]
    names = ("GPUs", "weights", "gradients", "optimiser", "averages", "gathered", "activations", "frozen")
    lines = [
        f"{config.name}: {sizes.num_layers} blocks, {sizes.hidden_size} wide, {config.precision}, packs of "
        f"{config.data.token_budget} tokens" + (", gradient checkpointing" if config.gradient_checkpointing else ""),
        "memory of each rank" + (", gradients, optimiser and averages on the CPU:" if first.is_offloaded else ":"),
        _row(*names, "on the GPU", "on the CPU"),
    ]
    for needs in rows:
        parts = (needs.weights, needs.gradients, needs.optimiser, needs.ema, needs.gathered, needs.activations)
        totals = (needs.frozen, needs.on_gpu, needs.on_cpu)
        lines.append(_row(str(needs.size), *map(format_bytes, (*parts, *totals))))
    if is_muon:
        lines.append("more GPUs only with optimiser.kind=adamw")
    missing = [str(path) for path in frozen if not path.exists()]
    if missing:
        lines.append(f"not counted, since not there: {', '.join(missing)}")
    return lines


def _row(first: str, *cells: str) -> str:
    return f"{first:>4}" + "".join(f"{cell:>{_WIDTH}}" for cell in cells)
