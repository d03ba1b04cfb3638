"""How much memory each of several ranks needs, by arithmetic from a model without weights.

What is spread over the ranks is counted as FSDP2 cuts it: by rows, the first rank's share rounded up. Activations are
an estimate, as in `estimate.py`; what the frameworks take for themselves is not counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..config.training import TrainingConfig
from ..models.dit import LoomDiT
from .estimate import count_numbers, empty_model_of, trained_weights, training_needs
from .optimiser import moments_like

_FLOAT = 4
_BLOCKS_AT_ONCE = 2
"""One that runs and the next one, which is fetched meanwhile."""


@dataclass(frozen=True)
class RankNeeds:
    """Bytes that one rank needs, the one with the largest share.

    Args:
        size: Number of ranks.
        weights: Its part, and what is cast for computing.
        gradients: Its part, in float32.
        optimiser: Its part of moments and of float32 copies.
        ema: Its part of the averaged weights.
        waiting: Its own trained weights, in the CPU's memory while averaged ones are measured.
        gathered: Whole weights and gradients of the blocks that run, which a single rank does not hold twice.
        activations: Kept for the backward pass of a full pack, about.
        frozen: MLLM and codec, which every rank has.
        is_offloaded: Gradients, optimiser and averages are in the CPU's memory.
    """

    size: int
    weights: int
    gradients: int
    optimiser: int
    ema: int
    waiting: int
    gathered: int
    activations: int
    frozen: int
    is_offloaded: bool

    @property
    def updating(self) -> int:
        """What updates the weights."""
        return self.gradients + self.optimiser + self.ema

    @property
    def on_gpu(self) -> int:
        """All that is on the rank's GPU."""
        always = self.weights + self.gathered + self.activations + self.frozen
        return always + (0 if self.is_offloaded else self.updating)

    @property
    def on_cpu(self) -> int:
        """In the machine's memory for this rank."""
        return (self.updating if self.is_offloaded else 0) + self.waiting


def rank_needs(config: TrainingConfig, sizes: Iterable[int], *, frozen: Iterable[Path] = ()) -> list[RankNeeds]:
    """What each rank of a run on GPUs needs.

    Args:
        config: Of the run.
        sizes: Numbers of ranks to tell it for.
        frozen: Files and folders of the frozen parts, counted as large as they are.
    """
    whole = training_needs(config, frozen=frozen)
    model = empty_model_of(config)
    width, trained = whole.weights // whole.total, trained_weights(model)
    moments = moments_like(trained, config.optimiser.kind)
    gathered = _gathered(model, width)
    needs = []
    for size in sizes:
        count = rows_of_first_rank(trained.values(), size)
        needs.append(
            RankNeeds(
                size=size,
                weights=width * rows_of_first_rank(model.parameters(), size) + whole.casts,
                gradients=whole.gradients // whole.parameters * count,
                optimiser=_FLOAT * rows_of_first_rank(moments, size) + whole.masters // whole.parameters * count,
                ema=whole.ema // whole.parameters * count,
                waiting=width * count if whole.ema else 0,
                gathered=gathered if size > 1 else 0,
                activations=whole.activations,
                frozen=whole.frozen,
                is_offloaded=whole.is_offloaded,
            )
        )
    return needs


def rows_of_first_rank(weights: Iterable[Tensor], size: int) -> int:
    """Number of numbers that the first of so many ranks has of some weights."""
    return sum(-(-len(weight) // size) * weight[0].numel() for weight in weights)


def _gathered(model: LoomDiT, width: int) -> int:
    """Whole weights while a block runs, and its gradients before they are shared out, in float32 by then."""
    of_block, of_model = (trained_weights(part).values() for part in (model.blocks[0], model))
    block, trained = count_numbers(model.blocks[0].parameters()), count_numbers(of_block)
    outside = count_numbers(model.parameters()) - len(model.blocks) * block
    trained_outside = count_numbers(of_model) - len(model.blocks) * trained
    return width * (_BLOCKS_AT_ONCE * block + outside) + (width + _FLOAT) * max(trained, trained_outside)
