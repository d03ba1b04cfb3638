"""Steps down the noise levels that are drawn instead of followed, and how probable a step was: for Flow-GRPO.

An SDE with the same distribution at every noise level as the flow ODE. From sigma to the next level, dt = next - sigma:

    std   = noise_level * sqrt(sigma / (1 - sigma))
    mean  = x (1 + std^2 dt / (2 sigma)) + v (1 + std^2 (1 - sigma) / (2 sigma)) dt
    x'    = mean + std sqrt(-dt) n

Source: Flow-GRPO (arXiv 2505.05470). Differences: the last step, to sigma 0, is followed, not drawn, so that results
are clean (there it is drawn and left out of training).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class DrawnStep:
    """Coefficients of one step.

    Args:
        of_latents: Of the latents in the mean.
        of_velocity: Of the velocity in the mean.
        std: Standard deviation of what is added to the mean; 0 for a step that is followed.
    """

    of_latents: float
    of_velocity: float
    std: float

    @classmethod
    def between(cls, sigmas: Tensor, step: int, *, noise_level: float) -> DrawnStep:
        """The step from sigmas[step] to sigmas[step + 1].

        Args:
            sigmas: [N + 1], falling from almost 1 to 0, N at least 2.
            step: 0 to N - 1.
            noise_level: 0 follows the ODE.
        """
        sigma, following = float(sigmas[step]), float(sigmas[step + 1])
        width = following - sigma
        if following == 0 or noise_level == 0:
            return cls(1.0, width, 0.0)
        # at pure noise the rate is infinite; the next level's is taken there, as published
        variance = noise_level**2 * sigma / (1 - min(sigma, float(sigmas[1])))
        return cls(
            of_latents=1 + variance * width / (2 * sigma),
            of_velocity=(1 + variance * (1 - sigma) / (2 * sigma)) * width,
            std=math.sqrt(variance * -width),
        )

    def mean(self, latents: Tensor, velocity: Tensor) -> Tensor:
        """Where the step leads without what is drawn; differentiable in the velocity."""
        return self.of_latents * latents + self.of_velocity * velocity

    def draw(self, latents: Tensor, velocity: Tensor, *, noise: Tensor) -> Tensor:
        """Latents at the next level.

        Args:
            latents: At this one.
            velocity: Predicted there.
            noise: Standard normal, of the same size.
        """
        return self.mean(latents, velocity) + self.std * noise


def log_probability(following: Tensor, *, mean: Tensor, std: float) -> Tensor:
    """How probable latents are under a drawn step: the mean over their elements, [].

    Args:
        following: Where the step led.
        mean: Of the step.
        std: Above 0.
    """
    scaled = (following.detach() - mean) / std
    return (-0.5 * scaled.square() - math.log(std) - 0.5 * math.log(2 * torch.pi)).mean()
