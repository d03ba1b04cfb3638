"""Forward passes that are left out of a run, and what stands in for their predictions.

Two ways, alone or together. The *guidance budget*: behind the first steps, which lay out the result, the branches that
only guide run in some steps; in the others their differences from the full branch are extrapolated. *Reuse of steps*:
while the guided prediction can hardly have changed since it was computed, the whole step is extrapolated.

How much a prediction changed is judged from the last two times it was computed: it had then changed by some rate for
every change of the latents, and the rate itself changes slowly. The state is kept for each branch: for the full one its
velocity, for another its difference from the full one, which changes less. The branches of a step are left out
together: a fresh one beside an old one would have guidance multiply what the old one lacks.

Differences from EasyCache (arXiv 2507.02860): the rates of all branches count, each with its weight; and instead of
moving along with the latents, a stand-in goes on in a straight line over sigma from the last two predictions (as
TaylorSeer, arXiv 2503.06923, does with features), no further than those lie apart. Differences from gates of guidance
(FastVideo, FasterCache, arXiv 2410.19355): the differences are made anew every few steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..config.speed import Shortcuts
from ..protocols import Denoiser
from ..types import Branch
from .guidance import combine, guided_velocity, predict
from .schedule import Schedule

FIRST_STEPS = 3  # always computed: a rate takes two, and here the result is laid out
LAST_STEPS = 1  # always computed: nothing follows that could mend it
TINY = 1e-12


def position(sigmas: Sequence[float], sigma: float) -> int:
    """Number of the step that a noise level belongs to, also where a solver asks between two steps.

    Args:
        sigmas: Noise levels at which the steps begin, falling.
        sigma: Any noise level.
    """
    return max(sum(level >= sigma for level in sigmas) - 1, 0)


@dataclass(frozen=True)
class Prediction:
    """What was computed at a noise level: a velocity, or a difference of two.

    Args:
        value: [B, C, F, H, W].
        sigma: Noise level.
    """

    value: Tensor
    sigma: float


def extrapolate(last: Prediction, before: Prediction | None, sigma: float) -> Tensor:
    """A prediction continued in a straight line, no further than the two that it goes by lie apart.

    Args:
        last: Computed last.
        before: Computed before that; None, or one at the same noise level, has the last one held.
        sigma: Where to.
    """
    if before is None or before.sigma == last.sigma:
        return last.value
    share = (sigma - last.sigma) / (last.sigma - before.sigma)
    return last.value + max(-1.0, min(share, 1.0)) * (last.value - before.value)


@dataclass(frozen=True)
class _State:
    """What is known of a branch.

    Args:
        last: Computed last: the anchor's velocity; of another branch its difference from that.
        latents: Where it was computed.
        before: Computed before that.
        rate: Mean change of the prediction over the mean change of the latents, between the two.
        drift: Change since the last one by that rate, weighted, as a share of the anchor's velocity.
    """

    last: Prediction
    latents: Tensor
    before: Prediction | None = None
    rate: float | None = None
    drift: float = 0.0


def _mean_size(values: Tensor) -> float:
    return float(values.float().abs().mean())


class Reuse:
    """Decides before each evaluation of a run which branches to compute, and completes their predictions after it.

    A batch is judged as a whole, so that what is left out for a sample depends on its neighbours too.

    Args:
        shortcuts: What may be left out.
        weights: Of every branch that a prediction is asked of; they add up to 1.
        sigmas: Noise levels at which the run's steps begin, falling.
    """

    def __init__(self, shortcuts: Shortcuts, weights: Mapping[Branch, float], sigmas: Sequence[float]) -> None:
        self._shortcuts, self._weights, self._sigmas = shortcuts, dict(weights), list(sigmas)
        order = (Branch.FULL, Branch.VISUAL, Branch.UNCONDITIONAL)
        self._anchor = next(branch for branch in order if branch in weights)
        self._states: dict[Branch, _State] = {}
        self._latents: Tensor | None = None
        self._alone = 0  # evaluations of the anchor alone since all branches ran

    def due(self, latents: Tensor, sigma: float) -> tuple[Branch, ...]:
        """Branches to compute now; none where all predictions stand in. To be asked once an evaluation.

        Args:
            latents: [B, C, F, H, W].
            sigma: Their noise level, in [0, 1].
        """
        self._move(latents)
        step, num_steps = position(self._sigmas, sigma), len(self._sigmas)
        branches = tuple(self._weights) if self._runs_all(step, num_steps) else (self._anchor,)
        first = max(FIRST_STEPS, round(self._shortcuts.reuse_after * num_steps))
        is_inner = first <= step < num_steps - LAST_STEPS
        return () if is_inner and self._has_hardly_changed(branches) else branches

    def complete(self, sigma: float, computed: Mapping[Branch, Tensor]) -> dict[Branch, Tensor]:
        """Velocities of all branches: what was computed as it is, for the others what stands in.

        Args:
            sigma: As `due` was given.
            computed: Velocities of the branches that were due.
        """
        if computed:
            self._alone = 0 if len(computed) == len(self._weights) else self._alone + 1
            anchor = computed[self._anchor]
            for branch, velocity in computed.items():
                self._keep(branch, Prediction(velocity if branch is self._anchor else velocity - anchor, sigma))
        anchor = computed[self._anchor] if computed else self._stand_in(self._anchor, sigma)
        stand_ins = {
            branch: anchor if branch is self._anchor else anchor + self._stand_in(branch, sigma)
            for branch in self._weights
            if branch not in computed
        }
        return {**stand_ins, **computed}

    def _runs_all(self, step: int, num_steps: int) -> bool:
        """Whether the guidance budget has every branch run, if any does."""
        early = max(FIRST_STEPS, round(self._shortcuts.guidance_share * num_steps))
        every = self._shortcuts.guidance_every
        return step < early or len(self._states) < len(self._weights) or 0 < every <= self._alone + 1

    def _has_hardly_changed(self, branches: Sequence[Branch]) -> bool:
        """Whether the guided velocity is still near enough to what was computed last."""
        states = [self._states.get(branch) for branch in branches]
        known = [state.drift for state in states if state is not None and state.rate is not None]
        return len(known) == len(branches) and sum(known) < self._shortcuts.reuse_threshold

    def _move(self, latents: Tensor) -> None:
        """Take note of how far the latents went, and with them the predictions."""
        last, self._latents = self._latents, latents.clone()  # a host's sampler may write into its own
        if last is None or not self._states:
            return
        moved = _mean_size(latents - last) / max(_mean_size(self._states[self._anchor].last.value), TINY)
        for branch, state in self._states.items():
            weight = 1.0 if branch is self._anchor else abs(self._weights[branch])
            self._states[branch] = replace(state, drift=state.drift + weight * (state.rate or 0.0) * moved)

    def _keep(self, branch: Branch, prediction: Prediction) -> None:
        """Remember what was computed, and how fast it changed since the time before."""
        assert self._latents is not None  # `due` was asked before
        old = self._states.get(branch)
        if old is None:
            self._states[branch] = _State(prediction, self._latents)
            return
        way = max(_mean_size(self._latents - old.latents), TINY)
        rate = _mean_size(prediction.value - old.last.value) / way
        self._states[branch] = _State(prediction, self._latents, old.last, rate)

    def _stand_in(self, branch: Branch, sigma: float) -> Tensor:
        state = self._states[branch]
        return extrapolate(state.last, state.before, sigma)


def shortened_velocity(
    model: Denoiser,
    conditions: Mapping[Branch, Any],
    weights: Mapping[Branch, float],
    *,
    dtype: torch.dtype,
    shortcuts: Shortcuts,
    schedule: Schedule,
) -> Callable[[Tensor, Tensor], Tensor]:
    """The function that a solver follows through one run: (latents, timestep [B]) -> velocity, float32.

    Args:
        model: See `guided_velocity`, which this is where nothing may be left out.
        conditions: See there.
        weights: See there.
        dtype: See there.
        shortcuts: What may be left out.
        schedule: Of the run, which asks once a step, in order.
    """
    if shortcuts.is_exact:
        return guided_velocity(model, conditions, weights, dtype=dtype)
    sigmas = schedule.sigmas[:-1].tolist()
    reuse, levels = Reuse(shortcuts, weights, sigmas), iter(sigmas)

    def velocity(latents: Tensor, timestep: Tensor) -> Tensor:
        sigma = next(levels)
        due = reuse.due(latents, sigma)
        found = predict(model, latents.to(dtype), timestep, conditions, due) if due else {}
        computed = {branch: each.float() for branch, each in found.items()}
        return combine(reuse.complete(sigma, computed), weights)

    return velocity
