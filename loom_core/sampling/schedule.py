"""Noise schedules of a flow model: sigmas from almost 1 down to exactly 0, and the timesteps the model sees.

The shift moves steps toward noise: sigma' = s * sigma / (1 + (s - 1) * sigma). Released weights are sampled with a
fixed shift of 5; training used one that grows with the number of tokens, which suits images and short clips.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..config.sampling import MAX_STEPS, SamplingConfig
from ..errors import ConfigError
from ..models.source import NUM_TRAIN_TIMESTEPS

BASE_TOKENS = 64
MAX_SHIFT = 8.0
INFERENCE_SHIFT_SCALE = 0.5
FIRST_SIGMA_GAP = 1e-6


@dataclass(frozen=True)
class Schedule:
    """Noise levels of a run.

    Args:
        sigmas: float32 [N + 1], falling, the last one 0.
        timesteps: int64 [N], what the model is told at each step: floor(1000 * sigma).
    """

    sigmas: Tensor
    timesteps: Tensor

    @property
    def num_steps(self) -> int:
        """N."""
        return len(self.timesteps)


def shift_sigmas(sigmas: Tensor, shift: float | Tensor) -> Tensor:
    """Move noise levels in [0, 1] toward 1 (shift above 1) or 0 (below)."""
    return shift * sigmas / (1 + (shift - 1) * sigmas)


def token_shift(
    num_tokens: int, *, scale: float = INFERENCE_SHIFT_SCALE, base_shift: float = 1.0, base_tokens: int = BASE_TOKENS
) -> float:
    """Shift of a sample by its size, as in training: clamp(base + scale * log2(tokens / base_tokens), base, 8).

    Args:
        num_tokens: Target and reference tokens.
        scale: 0.65 in stage 1, 0.5 in stages 2 and 3.
        base_shift: Smallest shift.
        base_tokens: Token count up to which the smallest shift holds.

    Source: official `get_dynamic_shift`.
    """
    if num_tokens <= 0:
        return base_shift
    return max(base_shift, min(base_shift + math.log2(num_tokens / base_tokens) * scale, MAX_SHIFT))


def flow_schedule(num_steps: int, *, shift: float) -> Schedule:
    """The official discretisation.

    Args:
        num_steps: N, 1 to 1000.
        shift: Above 0.

    Raises:
        ConfigError: `num_steps` is below 1.

    Source: diffusers `UniPCMultistepScheduler(use_flow_sigmas=True, final_sigmas_type="zero")`.
    """
    if num_steps < 1:
        raise ConfigError(f"{num_steps} steps", expected="at least 1", fix="50 is the usual count")
    # numpy's linspace, not torch's: a last-bit difference would move some timesteps across an integer
    even = torch.from_numpy(np.linspace(1.0, 1.0 / NUM_TRAIN_TIMESTEPS, num_steps + 1)[:-1])
    sigmas = shift_sigmas(even, shift)
    # parity: sigma 1 would put the solvers' log(alpha) at minus infinity; diffusers moves it by this much
    sigmas[0] -= FIRST_SIGMA_GAP
    timesteps = (sigmas * NUM_TRAIN_TIMESTEPS).to(torch.int64)
    return Schedule(torch.cat((sigmas, sigmas.new_zeros(1))).float(), timesteps)


def partial_schedule(num_steps: int, *, shift: float, denoise: float) -> Schedule:
    """The tail of the official discretisation, to change a clean latent instead of starting from noise.

    Args:
        num_steps: N, the steps that are really taken.
        shift: Above 0.
        denoise: Share of a whole run of N / denoise steps that is taken, above 0, at most 1.

    Raises:
        ConfigError: A number is out of range, or the whole run would have more than 1000 steps.
    """
    if not 0 < denoise <= 1:
        raise ConfigError(f"denoise {denoise:g}", expected="a share above 0, at most 1", fix="1 starts from pure noise")
    total = int(num_steps / denoise)
    if total > MAX_STEPS:
        raise ConfigError(
            f"{num_steps} steps at denoise {denoise:g}, the tail of {total}",
            expected=f"a run of at most {MAX_STEPS} steps in all",
            fix="take fewer steps or a larger denoise",
        )
    whole = flow_schedule(total, shift=shift)
    first = whole.num_steps - num_steps
    return Schedule(whole.sigmas[first:], whole.timesteps[first:])


def floor_safe_sigmas(schedule: Schedule) -> Tensor:
    """Sigmas from which a host that hands no timesteps on finds the same ones again, as floor(1000 sigma) in float32.

    Rounded to float32, a sigma beside a multiple of 1/1000 can come to lie on its other side; such a one is moved by
    the least step that float32 has, until it is right.

    Args:
        schedule: From `flow_schedule` or `partial_schedule`.

    Returns:
        float32 [N + 1], at most 1e-6 from the schedule's own.
    """
    sigmas = schedule.sigmas.clone()
    steps = sigmas[:-1]
    while bool((off := schedule.timesteps - (steps * NUM_TRAIN_TIMESTEPS).to(torch.int64)).any()):
        steps.copy_(torch.where(off == 0, steps, torch.nextafter(steps, steps + off)))
    return sigmas


def schedule_for(config: SamplingConfig, *, num_tokens: int) -> Schedule:
    """The schedule that a run's settings ask for; a shift of None is taken from the token count."""
    shift = token_shift(num_tokens) if config.shift is None else config.shift
    return flow_schedule(config.num_inference_steps, shift=shift)
