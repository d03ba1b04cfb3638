"""The three policies of a run in one model: the one that is trained, the old one that answers, the reference.

Only trained weights are swapped, by name, so that a LoRA costs only its own. Without it the model is the one that it
was begun on: the reference, of which nothing has to be kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..distributed.sharding import local_part, part_of
from ..errors import WeightsError
from ..training.checkpoint import whole_entries
from ..training.ema import Ema, measured_weights
from ..training.ranks import Ranks
from ..weights.saving import entries_of, save_safetensors, writing_order
from .rollout import Velocities

REFERENCE_FILE = "reference.safetensors"
"""In the run's folder: the trained weights as the run started with them."""


def old_policy_decay(rounds: int, *, ramp: float, limit: float) -> float:
    """Share of itself that the old policy keeps after a round.

    Args:
        rounds: Done before this one; after the first the old policy is the policy.
        ramp: Its rise a round.
        limit: Its largest value.

    Source: DiffusionNFT's official code, decay type 1: 0.001 and 0.5.
    """
    return min(ramp * rounds, limit)


class OldPolicy(Ema):
    """The policy that answers: an average of the trained one whose memory grows.

    Args:
        weights: By name, as the run starts; copied.
        limit: Largest share of itself that it keeps.
        ramp: Rise of that share a round.
    """

    def __init__(self, weights: Mapping[str, Tensor], *, limit: float, ramp: float) -> None:
        super().__init__(weights, decay=limit)
        self.ramp = ramp

    def next_decay(self) -> float:
        """Share of itself that stays at the next update."""
        return old_policy_decay(self.updates, ramp=self.ramp, limit=self.decay)


Reference = Callable[[], AbstractContextManager[None]]
"""Gives what makes a model the one that the run started with, for a while."""


@dataclass(frozen=True)
class Policy:
    """A model and the policies that it can be.

    Args:
        model: With the weights that are trained.
        velocities: Runs it.
        old: Answers; None for the trained one, as it is before a round's first update.
        reference: Where the run started; None for none.
    """

    model: nn.Module
    velocities: Velocities
    old: Ema | None = None
    reference: Reference | None = None

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.model.parameters()).device

    def as_old(self) -> AbstractContextManager[None]:
        """Within, the model is the old policy, without gradients."""
        return measured_weights(self.model, self.old)

    @contextmanager
    def as_reference(self) -> Iterator[None]:
        """Within, the model is the reference, without gradients."""
        assert self.reference is not None
        with measured_weights(self.model, None), self.reference():
            yield


def trained_weights(model: nn.Module) -> dict[str, Tensor]:
    """The weights of a model that are trained, by name, on the CPU: a GPU has no second set of them.

    Of a model that is spread over several ranks, this one's parts of them.
    """
    return {name: local_part(weight.detach()).cpu() for name, weight in _trained(model).items()}


def keep_reference(run: Path, model: nn.Module, ranks: Ranks | None = None) -> Ema:
    """The weights that a run starts with, or this rank's parts of them.

    Args:
        run: Its folder, in which they are kept for later.
        model: Has them.
        ranks: All of which call this together; the first one writes.
    """
    weights, is_first = trained_weights(model), ranks is None or ranks.rank == 0
    entries = whole_entries(weights, _trained(model))
    if is_first:
        save_safetensors(run / REFERENCE_FILE, entries)
    else:
        for entry in writing_order(entries):
            entry.load()
    return Ema(weights, decay=0.0)


def read_reference(run: Path, model: nn.Module, ranks: Ranks | None = None, *, begun_in: Path | None = None) -> Ema:
    """The weights that a run started with.

    Args:
        run: Its folder.
        model: Of the same sizes.
        ranks: The first of which writes.
        begun_in: Folder of the run that it goes on from, if that is another: it gets its own copy.

    Raises:
        WeightsError: They are missing, damaged or of another model.
        OutputError: The copy cannot be written.
    """
    path = (begun_in or run) / REFERENCE_FILE
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"{path}, which cannot be read ({type(error).__name__}: {error})",
            expected="the weights that this run started with, which rl.kl measures the distance to",
            fix="restore the file, or go on with --set rl.kl=0 --allow-config-change",
        ) from error
    reference = Ema(trained_weights(model), decay=0.0)
    likes = _trained(model)
    own = {name: part_of(weight, likes[name]) if name in likes else weight for name, weight in weights.items()}
    reference.load(own, updates=0)
    if path.parent.resolve() != run.resolve() and (ranks is None or ranks.rank == 0):
        save_safetensors(run / REFERENCE_FILE, entries_of(weights))
    return reference


def _trained(model: nn.Module) -> dict[str, Tensor]:
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
