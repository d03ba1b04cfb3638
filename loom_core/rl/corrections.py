"""Corrections: the way to a sample's target from wherever the policy's own answers lead.

A reward says one number of an answer. Where a sample comes with its right answer, as an edit does, each place on the
way to a wrong one says more: what the clean latents should have been. Training shows a model only places on the way to
right answers; from its own places, where errors have added up, it never learned to come back.

Source: what DAgger (arXiv 1011.0686) does for a policy that imitates, for a model that denoises. Not published for
LoomVideo.
"""

from __future__ import annotations

from torch import Tensor

from ..models.source import NUM_TRAIN_TIMESTEPS
from .nft import clean_error
from .points import Point
from .rollout import Rollout


def is_corrected(rollout: Rollout) -> bool:
    """Whether the target is the right answer to come to: an edit's is the only one, one of words alone only its own.

    A picture of words may be right in many ways; from the way to one of them another one is no correction.
    """
    return rollout.is_target or rollout.sample.source is not None


def correction(velocity: Tensor, point: Point, target: Tensor) -> Tensor:
    """Error of the clean latents that a velocity implies at a point, against the target's, [].

    Args:
        velocity: Predicted there, float32 [C, F, H, W].
        point: z at t.
        target: Clean latents of the same size; the velocity that leads to them is (z - target) / t.
    """
    level = max(point.timestep, 1.0) / NUM_TRAIN_TIMESTEPS  # what a drawn step was told is rounded down, to 0 at last
    wanted = (point.latents.to(velocity) - target.to(velocity)) / level
    return clean_error(velocity, wanted, level=level)
