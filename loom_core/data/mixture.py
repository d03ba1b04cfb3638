"""Which sample stands at a position of the run's stream: a weighted mix of sets, each gone through in shuffled order.

The stream is one for all ranks; rank r of n takes the positions r, r + n, r + 2n ... Nothing is drawn from a state:
any position can be asked for at once, so a run resumes without going through what came before, and no two workers or
ranks get the same sample within an epoch of its set.

The stream is made of blocks of `BLOCK` positions. Every block holds each set as often as its weight says (rounded to
a whole number, at least once), in an order of its own. How often a set occurred before a position is therefore known
from the number of the block, and the set's own order, a permutation for every epoch, gives the sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ..config.data import DataConfig
from ..errors import ConfigError
from .seeds import derive_seed, seeded_generator

BLOCK = 4096
_KEPT_BLOCKS = 2
_KEPT_EPOCHS = 2  # permutations of each set


@dataclass(frozen=True)
class Place:
    """What stands at a position.

    Args:
        position: In the stream of all ranks, from 0.
        set_index: Which set.
        index: Which sample of it.
        epoch: How often the set has been gone through before.
        clip: Number from which a clip's start is chosen; neighbouring epochs have neighbouring numbers.
    """

    position: int
    set_index: int
    index: int
    epoch: int
    clip: int


def set_weights(config: DataConfig) -> list[float]:
    """Share of each set in the stream, adding up to 1: its group's weight times its own part of the group's sum.

    Source: official `UniTrainDataset._flatten_dataset_config`.
    """
    groups = [entry.group or entry.label for entry in config.sets]
    sums: dict[str, float] = {}
    for group, entry in zip(groups, config.sets, strict=True):
        sums[group] = sums.get(group, 0.0) + entry.weight
    shares = [
        config.group_weights.get(group, 1.0) * entry.weight / sums[group]
        for group, entry in zip(groups, config.sets, strict=True)
    ]
    total = sum(shares)
    return [share / total for share in shares]


class Mixture:
    """The stream of a run.

    Args:
        lengths: Number of samples of each set.
        weights: Share of each set; they are made to add up to 1.
        seed: Of the run.

    Raises:
        ConfigError: A set is empty, or there are more sets than a block has positions.
    """

    def __init__(self, lengths: Sequence[int], weights: Sequence[float], *, seed: int) -> None:
        if not lengths or min(lengths) < 1 or len(lengths) > BLOCK:
            raise ConfigError(
                f"sets of {list(lengths)} samples", expected=f"1 to {BLOCK} sets with samples", fix="correct the sets"
            )
        self.lengths = tuple(lengths)
        self.seed = seed
        self.counts = _block_counts(weights)
        # caches of this object, not of the class, which would keep dead mixtures alive
        self._block = lru_cache(_KEPT_BLOCKS)(self._make_block)
        self._order = lru_cache(_KEPT_EPOCHS * len(lengths))(self._make_order)

    def __getitem__(self, position: int) -> Place:
        """What stands at a position from 0 on."""
        block, offset = divmod(position, BLOCK)
        sets, ranks = self._block(block)
        set_index = int(sets[offset])
        times = block * self.counts[set_index] + int(ranks[offset])
        epoch, place = divmod(times, self.lengths[set_index])
        index = int(self._order(set_index, epoch)[place])
        clip = epoch + derive_seed(self.seed, "clip", set_index, index)
        return Place(position, set_index, index, epoch, clip)

    def _make_block(self, block: int) -> tuple[Tensor, Tensor]:
        """The set at each position of a block, and how often it stood before in that block."""
        sets = torch.repeat_interleave(torch.arange(len(self.counts)), torch.tensor(self.counts))
        sets = sets[torch.randperm(BLOCK, generator=seeded_generator(self.seed, "block", block))]
        ranks = torch.empty_like(sets)
        for set_index, count in enumerate(self.counts):
            ranks[sets == set_index] = torch.arange(count)
        return sets, ranks

    def _make_order(self, set_index: int, epoch: int) -> Tensor:
        """The permutation of a set in an epoch."""
        generator = seeded_generator(self.seed, "order", set_index, epoch)
        return torch.randperm(self.lengths[set_index], generator=generator)


def _block_counts(weights: Sequence[float]) -> tuple[int, ...]:
    """Whole numbers, at least 1 each, that add up to a block and are nearest to the weights."""
    total = sum(weights)
    exact = [BLOCK * weight / total for weight in weights]
    counts = [max(1, int(value)) for value in exact]
    while sum(counts) < BLOCK:
        lacking = max(range(len(counts)), key=lambda index: exact[index] - counts[index])
        counts[lacking] += 1
    while sum(counts) > BLOCK:
        spare = max((index for index in range(len(counts)) if counts[index] > 1), key=lambda i: counts[i] - exact[i])
        counts[spare] -= 1
    return tuple(counts)
