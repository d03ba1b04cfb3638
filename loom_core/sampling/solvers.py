"""Solvers of the flow ODE, one model call a step.

A flow with alpha = 1 - sigma is a diffusion whose log signal-to-noise is lambda = log(alpha / sigma); multistep solvers
work in lambda on the predicted clean latents m = x - sigma * velocity.

`euler` is first order. `dpmpp_2m` is second order: the exponential integrator with one earlier prediction, which is
DPM-Solver++ 2M and also UniPC's predictor at order 2. `unipc` adds UniPC's corrector, which improves the current point
with the prediction made there, at no further model call; it is what LoomVideo is sampled with.

Source: UniPC (arXiv 2302.04867) with B(h) = expm1(h) ("bh2"), as diffusers' `UniPCMultistepScheduler(solver_order=2,
lower_order_final=True)` runs it; DPM-Solver++ (arXiv 2211.01095).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ..errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class History:
    """What a multistep solver remembers of the step before.

    Args:
        clean: The clean latents predicted at its start.
        latents: The latents it started from (after correction).
        earlier_clean: The clean latents predicted a step before that, if any.
        order: Order of its predictor, 1 or 2.
    """

    clean: Tensor
    latents: Tensor
    earlier_clean: Tensor | None
    order: int


@dataclass(frozen=True)
class SolverStep:
    """Outcome of one step.

    Args:
        latents: At the next noise level.
        clean: The clean latents predicted at this one.
        history: To hand to the next step.
    """

    latents: Tensor
    clean: Tensor
    history: History | None


class Solver(Protocol):
    """Takes one step down the noise levels."""

    def __call__(
        self, latents: Tensor, velocity: Tensor, *, sigmas: Tensor, step: int, history: History | None
    ) -> SolverStep:
        """Go from sigmas[step] to sigmas[step + 1].

        Args:
            latents: float32 [B, C, F, H, W] at sigmas[step].
            velocity: Predicted there, the same size.
            sigmas: [N + 1], falling.
            step: 0 to N - 1.
            history: From the step before; None at the first.
        """
        ...


def euler(latents: Tensor, velocity: Tensor, *, sigmas: Tensor, step: int, history: History | None) -> SolverStep:
    """First order: follow the velocity. See `Solver`."""
    del history
    sigma, following = float(sigmas[step]), float(sigmas[step + 1])
    return SolverStep(latents + (following - sigma) * velocity, latents - sigma * velocity, None)


@dataclass(frozen=True)
class _Interval:
    """Coefficients of the exponential integrator between two noise levels.

    x' = decay * x + gain * m + gain * (corrections).
    """

    decay: float
    gain: float
    width: float  # h, the change of lambda; infinite when the interval ends at sigma 0

    @classmethod
    def between(cls, sigma: float, following: float) -> _Interval:
        width = _log_snr(following) - _log_snr(sigma)
        return cls(decay=following / sigma, gain=-(1 - following) * math.expm1(-width), width=width)


def _log_snr(sigma: float) -> float:
    return math.inf if sigma == 0 else math.log(1 - sigma) - math.log(sigma)


def _slope(clean: Tensor, earlier: Tensor, *, sigmas: Tensor, step: int, interval: _Interval) -> Tensor:
    """Change of the clean prediction over `interval`, extrapolated from the interval before step `step`."""
    ratio = (_log_snr(float(sigmas[step - 1])) - _log_snr(float(sigmas[step]))) / interval.width
    return (earlier - clean) / ratio


def _predict(latents: Tensor, clean: Tensor, earlier: Tensor | None, *, sigmas: Tensor, step: int) -> Tensor:
    """Latents at sigmas[step + 1]; of second order when an earlier clean prediction is given."""
    interval = _Interval.between(float(sigmas[step]), float(sigmas[step + 1]))
    result = interval.decay * latents + interval.gain * clean
    if earlier is not None:
        result = result + 0.5 * interval.gain * _slope(clean, earlier, sigmas=sigmas, step=step, interval=interval)
    return result


def _corrector_weights(interval: _Interval, ratio: float | None) -> tuple[float, float]:
    """Weights of the earlier slope and of the new prediction's change, UniC with B(h) = expm1(-h).

    They solve [[1, 1], [ratio, 1]] w = b with b_k = k! * phi_(k+1)(-h) * h / B(h); at order 1 the weight is one half.
    """
    if ratio is None:
        return 0.0, 0.5
    hh = -interval.width
    base = math.expm1(hh)
    phi_2 = base / hh - 1
    phi_3 = phi_2 / hh - 0.5
    first, second = phi_2 / base, 2 * phi_3 / base
    earlier = (first - second) / (1 - ratio)
    return earlier, first - earlier


def _correct(clean: Tensor, history: History, *, sigmas: Tensor, step: int) -> Tensor:
    """Latents at sigmas[step], improved with the clean prediction just made there (UniC)."""
    interval = _Interval.between(float(sigmas[step - 1]), float(sigmas[step]))
    result = interval.decay * history.latents + interval.gain * history.clean
    ratio = None
    if history.order > 1:
        ratio = (_log_snr(float(sigmas[step - 2])) - _log_snr(float(sigmas[step - 1]))) / interval.width
    earlier_weight, new_weight = _corrector_weights(interval, ratio)
    change = new_weight * (clean - history.clean)
    if history.order > 1 and history.earlier_clean is not None:
        slope = _slope(history.clean, history.earlier_clean, sigmas=sigmas, step=step - 1, interval=interval)
        change = change + earlier_weight * slope
    return result + interval.gain * change


def _multistep(
    latents: Tensor, velocity: Tensor, *, sigmas: Tensor, step: int, history: History | None, corrects: bool
) -> SolverStep:
    """A step of `dpmpp_2m`, or with the corrector of `unipc`."""
    clean = latents - float(sigmas[step]) * velocity
    if corrects and history is not None:
        latents = _correct(clean, history, sigmas=sigmas, step=step)
    is_last = step == len(sigmas) - 2
    # parity: the first step has no history; the last, to sigma 0, is of first order (lower_order_final)
    earlier = None if history is None or is_last else history.clean
    following = _predict(latents, clean, earlier, sigmas=sigmas, step=step)
    order = 1 if earlier is None else 2
    return SolverStep(following, clean, History(clean, latents, earlier, order))


def dpmpp_2m(latents: Tensor, velocity: Tensor, *, sigmas: Tensor, step: int, history: History | None) -> SolverStep:
    """Second order, without a corrector. See `Solver`."""
    return _multistep(latents, velocity, sigmas=sigmas, step=step, history=history, corrects=False)


def unipc(latents: Tensor, velocity: Tensor, *, sigmas: Tensor, step: int, history: History | None) -> SolverStep:
    """Second order predictor and corrector: the official sampler. See `Solver`."""
    return _multistep(latents, velocity, sigmas=sigmas, step=step, history=history, corrects=True)


SOLVERS: dict[str, Solver] = {"unipc": unipc, "dpmpp_2m": dpmpp_2m, "euler": euler}
"""Solvers by the name a setting gives them."""


def get_solver(name: str) -> Solver:
    """Solver of a name.

    Raises:
        ConfigError: No solver has it.
    """
    if name not in SOLVERS:
        raise ConfigError(
            f"solver {name!r}", expected=f"one of {', '.join(SOLVERS)}", fix="unipc is the trained choice"
        )
    return SOLVERS[name]
