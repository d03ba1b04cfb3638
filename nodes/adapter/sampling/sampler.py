"""The flow solvers as SAMPLER and their schedule as SIGMAS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from comfy.model_sampling import CONST
from comfy.samplers import KSAMPLER
from torch import Tensor
from tqdm.auto import trange

from ....loom_core.errors import ConfigError, WeightsError
from ....loom_core.sampling.schedule import FIRST_SIGMA_GAP, floor_safe_sigmas, partial_schedule
from ....loom_core.sampling.solvers import get_solver


def flow_sampler(solver: str) -> KSAMPLER:
    """A SAMPLER that follows the flow with one of our solvers.

    Args:
        solver: Name in `loom_core.sampling.solvers.SOLVERS`.

    Raises:
        ConfigError: No solver has the name.
    """
    get_solver(solver)
    return KSAMPLER(sample_flow, extra_options={"solver": solver})


def flow_sigmas(num_steps: int, *, shift: float, denoise: float = 1.0) -> Tensor:
    """SIGMAS of the official discretisation.

    The first is 0.999999, as official, where the host's own schedulers begin at 1: so the model is told timestep 999.

    Args:
        num_steps: Steps that are taken, 1 to 1000.
        shift: Above 0.
        denoise: Share of the whole run that is taken, its tail, 0 to 1; the host's convention: 0 takes no step.

    Returns:
        float32 [num_steps + 1], falling to 0; empty for denoise 0.

    Raises:
        ConfigError: A number is out of range.
    """
    if denoise == 0:
        return torch.empty(0)
    return floor_safe_sigmas(partial_schedule(num_steps, shift=shift, denoise=denoise))


@torch.no_grad()
def sample_flow(
    model: Any,
    x: Tensor,
    sigmas: Tensor,
    *,
    extra_args: Mapping[str, Any] | None = None,
    callback: Callable[[dict[str, Any]], None] | None = None,
    disable: bool | None = None,
    solver: str = "unipc",
) -> Tensor:
    """Follow the flow, in the form that the host's samplers have.

    Args:
        model: (x, sigma [B], **extra_args) -> predicted clean latents, of x's size.
        x: float32 [B, C, F, H, W] at sigmas[0].
        sigmas: [N + 1], falling, within [0, 1].
        extra_args: Handed to the model.
        callback: Told after each prediction: x, i, sigma, sigma_hat, denoised.
        disable: No bar in the terminal.
        solver: Name of a solver.

    Returns:
        Latents at sigmas[-1].

    Raises:
        ConfigError: The sigmas do not fall, or leave [0, 1].
        WeightsError: The model is no flow.
    """
    step_function = get_solver(solver)
    _check_flow(model)
    levels = _checked_levels(sigmas)
    told = levels.to(x.device)
    per_sample, history = x.new_ones(x.shape[0]), None
    for step in trange(len(levels) - 1, disable=disable):
        denoised = model(x, told[step] * per_sample, **(extra_args or {}))
        if callback is not None:
            callback({"x": x, "i": step, "sigma": told[step], "sigma_hat": told[step], "denoised": denoised})
        velocity = (x - denoised) / told[step]
        result = step_function(x, velocity, sigmas=levels, step=step, history=history)
        x, history = result.latents, result.history
    return x


def _checked_levels(sigmas: Tensor) -> Tensor:
    """Sigmas as the solvers take them: on the CPU, where reading one waits for nobody, and below 1."""
    # parity: at sigma 1 the solvers' log(alpha) is minus infinity, and the official timestep is 999, not 1000
    levels = sigmas.detach().float().cpu().clamp(max=1 - FIRST_SIGMA_GAP)
    if len(sigmas) and not (sigmas[0] <= 1 and levels[-1] >= 0 and bool((levels.diff() < 0).all())):
        raise ConfigError(
            f"{len(sigmas)} sigmas from {float(sigmas[0]):g} to {float(sigmas[-1]):g}",
            expected="each below the one before, within 1 and 0",
            fix="use LoomVideo Scheduler, or BasicScheduler with this model",
        )
    return levels


def _check_flow(model: Any) -> None:
    """Refuse a model whose prediction these solvers would misread."""
    guider = getattr(model, "inner_model", None)
    sampling = getattr(getattr(guider, "inner_model", None), "model_sampling", None)
    if sampling is not None and not isinstance(sampling, CONST):
        raise WeightsError(
            f"a MODEL that is not a flow ({type(sampling).__name__})",
            expected="one with sigmas between 0 and 1, such as LoomVideo",
            fix="use one of the host's own samplers for this model",
        )
