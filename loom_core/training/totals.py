"""The sums of a step, over all its packs and over all ranks at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from ..data.sample import EncodedSample
from ..data.tasks import TRAINING_TASKS
from .ranks import Ranks


@dataclass(frozen=True)
class Totals:
    """Sums of a step.

    Args:
        samples: How many.
        tokens: Of targets and references.
        bad_samples: Different ones left out since the run began.
        by_task: Task -> (squared errors, elements).
    """

    samples: int
    tokens: int
    bad_samples: int
    by_task: Mapping[str, tuple[float, int]]

    @property
    def loss(self) -> float:
        """Mean over all elements."""
        return math.fsum(errors for errors, _ in self.by_task.values()) / sum(
            count for _, count in self.by_task.values()
        )

    @property
    def loss_by_task(self) -> dict[str, float]:
        """Mean over the elements of each task."""
        return {task: errors / count for task, (errors, count) in self.by_task.items()}


def totals_of(samples: Sequence[EncodedSample], errors: Sequence[float], *, bad_samples: int, ranks: Ranks) -> Totals:
    """Add up what every rank has of a step; all of them call this together.

    Args:
        samples: This rank's.
        errors: Squared error of each.
        bad_samples: Different ones that this rank has left out since the run began.
        ranks: The processes of the run.
    """
    names = list(TRAINING_TASKS)
    sums = torch.zeros(2 + len(names), 2, dtype=torch.float64)
    sums[1, 0] = bad_samples
    for sample, error in zip(samples, errors, strict=True):
        sums[0] += torch.tensor([1, sample.shift_tokens], dtype=torch.float64)
        sums[2 + names.index(sample.task.name)] += torch.tensor([error, sample.target.numel()], dtype=torch.float64)
    (num_samples, tokens), (bad, _), *of_tasks = ranks.sum(sums).tolist()
    by_task = {name: (total, int(count)) for name, (total, count) in zip(names, of_tasks, strict=True) if count}
    return Totals(int(num_samples), int(tokens), int(bad), by_task)
