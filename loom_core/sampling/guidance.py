"""Cascaded guidance: v = v_u + s_v (v_visual - v_u) + s_t (v_full - v_visual), as weights of the branches.

Written as a weighted sum, (1 - s_v) v_u + (s_v - s_t) v_visual + s_t v_full, a branch whose weight is zero need not
be computed: s_v = 1 saves the unconditional pass, s_v = s_t the visual one.

Source: official `LoomVideo.generate`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..protocols import Denoiser, JointDenoiser
from ..types import Branch


def branch_weights(guidance_scale: float, visual_guidance_scale: float, *, has_visual: bool) -> dict[Branch, float]:
    """Weight of each branch that has to run; they add up to 1.

    Args:
        guidance_scale: s_t, text.
        visual_guidance_scale: s_v, source and references.
        has_visual: Whether there is a source or a reference. Without one there is no visual branch, and only
            s_t guides.

    Returns:
        Branches of weight zero are left out. The full branch alone when neither scale is above 1.
    """
    if guidance_scale <= 1 and visual_guidance_scale <= 1:
        return {Branch.FULL: 1.0}
    if has_visual:
        weights = {
            Branch.UNCONDITIONAL: 1 - visual_guidance_scale,
            Branch.VISUAL: visual_guidance_scale - guidance_scale,
            Branch.FULL: guidance_scale,
        }
    else:
        weights = {Branch.UNCONDITIONAL: 1 - guidance_scale, Branch.FULL: guidance_scale}
    return {branch: weight for branch, weight in weights.items() if weight != 0}


def combine(predictions: Mapping[Branch, Tensor], weights: Mapping[Branch, float]) -> Tensor:
    """Weighted sum of the branches' velocities, in float32."""
    terms = [weight * predictions[branch].float() for branch, weight in weights.items()]
    return torch.stack(terms).sum(0) if len(terms) > 1 else terms[0]


def guided_velocity(
    model: Denoiser, conditions: Mapping[Branch, Any], weights: Mapping[Branch, float], *, dtype: torch.dtype
) -> Callable[[Tensor, Tensor], Tensor]:
    """The function that a solver follows: (latents, timestep [B]) -> velocity, float32.

    Args:
        model: Runs once for each branch that has a weight, or for all of them together where it can.
        conditions: Prepared by the model, of at least those branches.
        weights: From `branch_weights`.
        dtype: In which the model computes; latents are cast to it.
    """

    def velocity(latents: Tensor, timestep: Tensor) -> Tensor:
        return combine(predict(model, latents.to(dtype), timestep, conditions, tuple(weights)), weights)

    return velocity


def predict(
    model: Denoiser, latents: Tensor, timestep: Tensor, conditions: Mapping[Branch, Any], branches: Sequence[Branch]
) -> dict[Branch, Tensor]:
    """Velocities of some branches, together where the model can."""
    if isinstance(model, JointDenoiser):
        found = model.together(latents, timestep, [conditions[branch] for branch in branches])
        return dict(zip(branches, found, strict=True))
    return {branch: model(latents, timestep, conditions[branch]) for branch in branches}
