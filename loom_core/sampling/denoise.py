"""The denoising loop: schedule, velocity, solver, progress, cancel."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import CancelledError, LoomError
from ..protocols import Progress, StepReport
from .schedule import Schedule
from .solvers import Solver


def initial_noise(shape: tuple[int, ...], *, seed: int, device: torch.device | str = "cpu") -> Tensor:
    """Gaussian noise, the same on every device: drawn in float32 on the CPU.

    Args:
        shape: [B, C, F, H, W].
        seed: 0 to 2**63 - 1; the same seed gives the same noise.
        device: Where the result goes.
    """
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).to(device)


@torch.no_grad()
def denoise(
    velocity: Callable[[Tensor, Tensor], Tensor],
    noise: Tensor,
    *,
    schedule: Schedule,
    solver: Solver,
    progress: Progress | None = None,
) -> Tensor:
    """Follow the flow from noise to clean latents.

    Args:
        velocity: (latents, timestep [B]) -> predicted velocity of the latents' size.
        noise: float32 [B, C, F, H, W], at sigma 1. The state stays in float32 throughout.
        schedule: Noise levels.
        solver: One of `solvers.SOLVERS`.
        progress: Told after each step; returning False cancels.

    Returns:
        Clean latents, float32 [B, C, F, H, W].

    Raises:
        CancelledError: `progress` returned False.
        LoomError: The velocity is not finite.
    """
    latents, history = noise.float(), None
    start = time.monotonic()
    for step in range(schedule.num_steps):
        timestep = schedule.timesteps[step].to(latents.device).expand(latents.shape[0])
        predicted = velocity(latents, timestep)
        result = solver(latents, predicted, sigmas=schedule.sigmas, step=step, history=history)
        latents, history = result.latents, result.history
        if progress is not None:
            elapsed = time.monotonic() - start
            done = step + 1
            report = StepReport(
                step=done,
                num_steps=schedule.num_steps,
                sigma=float(schedule.sigmas[done]),
                elapsed_seconds=elapsed,
                remaining_seconds=elapsed / done * (schedule.num_steps - done),
                clean_latents=result.clean,
            )
            if progress(report) is False:
                raise CancelledError(f"a cancel after step {done} of {schedule.num_steps}")
    if not bool(torch.isfinite(latents).all()):
        raise LoomError(
            "latents that are not finite after denoising",
            expected="finite numbers",
            fix="use bf16 or fp32 instead of fp16, and check the weights with `python -m loom_core.cli.inspect`",
        )
    return latents
