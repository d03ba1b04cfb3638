"""Averaged weights: an exponential moving average in float32, kept by the weights' names.

Differences from the official trainer: by name, where that one goes by order; a file of it can be loaded like any model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

from ..distributed.sharding import local_part
from ..errors import WeightsError


def ema_decay(updates: int, limit: float) -> float:
    """Share of the old average that stays.

    Args:
        updates: Made before this one; the first takes the weights as they are.
        limit: Largest share.

    Source: diffusers `EMAModel.get_decay` without warm-up, which the official trainer uses.
    """
    return 0.0 if updates <= 0 else min((1 + updates) / (10 + updates), limit)


class Ema:
    """The moving average of a set of weights.

    Args:
        weights: By name, as training starts; copied.
        decay: Largest share of the old average that stays at an update.
        updates: Made before.
    """

    def __init__(self, weights: Mapping[str, Tensor], *, decay: float, updates: int = 0) -> None:
        self.weights = {name: weight.detach().to(torch.float32, copy=True) for name, weight in weights.items()}
        self.decay = decay
        self.updates = updates

    def next_decay(self) -> float:
        """Share of the old average that stays at the next update."""
        return ema_decay(self.updates, self.decay)

    @torch.no_grad()
    def update(self, weights: Mapping[str, Tensor]) -> None:
        """Move the average toward the weights.

        Args:
            weights: The same names and shapes, in any order.

        Raises:
            WeightsError: Names are missing or too many.
        """
        self._check(weights)
        share = 1 - self.next_decay()
        for name, average in self.weights.items():
            average.lerp_(weights[name].detach().to(average), share)
        self.updates += 1

    @torch.no_grad()
    def load(self, weights: Mapping[str, Tensor], *, updates: int) -> None:
        """Go on from saved averages.

        Args:
            weights: By name.
            updates: Made before they were saved.

        Raises:
            WeightsError: They are of another model.
        """
        self._check(weights)
        for name, average in self.weights.items():
            average.copy_(weights[name])
        self.updates = updates

    @contextmanager
    def swapped_into(self, model: nn.Module) -> Iterator[None]:
        """Within, a model has the averaged weights; afterwards its own again, bit for bit.

        Its own ones wait in the CPU's memory, so that a GPU has no second copy of the model.
        """
        parameters = {name: weight for name, weight in model.named_parameters() if name in self.weights}
        own = {name: local_part(parameter.detach()).to("cpu", copy=True) for name, parameter in parameters.items()}
        try:
            _fill(parameters, self.weights)
            yield
        finally:
            try:
                _fill(parameters, own)
            except BaseException:  # the handler of a signal raised in between; a mixture of both must not be saved
                _fill(parameters, own)
                raise

    def _check(self, weights: Mapping[str, Tensor]) -> None:
        wrong = sorted(weights.keys() ^ self.weights.keys())
        wrong += [name for name in weights if name in self.weights and weights[name].shape != self.weights[name].shape]
        if wrong:
            raise WeightsError(
                f"averaged weights of another model ({len(wrong)} do not fit, the first is {wrong[0]})",
                expected="the weights of this model",
                fix="resume with the config that the run was started with",
            )


def _fill(parameters: Mapping[str, nn.Parameter], weights: Mapping[str, Tensor]) -> None:
    for name, parameter in parameters.items():
        local_part(parameter.data).copy_(weights[name])


@contextmanager
def measured_weights(model: nn.Module, ema: Ema | None) -> Iterator[None]:
    """Within, a model is as it is measured, evaluating without gradients with the averaged weights, if there are any.

    Afterwards it is as before, whatever happened.
    """
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), nullcontext() if ema is None else ema.swapped_into(model):
            yield
    finally:
        model.train(was_training)
