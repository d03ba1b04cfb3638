"""Rewards from pixels alone: what an edit must leave, and guards of sharpness and motion.

The truth of a sample says where its edit is, how sharp the result should be and how much should move. All go from 0
to 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...evaluation.measures import sharpness, unchanged_psnr
from .base import NOTHING_TO_SAY, Outcome

SAME = 12.0
"""Mean difference over the colours, in levels of 255, up to which source and truth count as the same: a codec's own."""
WORST_PSNR, BEST_PSNR = 10.0, 40.0
"""Decibels of a reward of 0 and of 1."""
_LEAST_MOTION = 0.5  # levels a frame; less is a codec's flicker


def preservation(outcomes: Sequence[Outcome]) -> Tensor:
    """How well that stayed which the edit does not touch, from its peak signal-to-noise ratio; [N]."""
    return torch.tensor([_preserved(outcome) for outcome in outcomes])


def sharpness_guard(outcomes: Sequence[Outcome]) -> Tensor:
    """1 for answers as sharp as the truth, less for blur and for noise; [N]."""
    return torch.tensor([_closeness(sharpness(outcome.frames, truth=outcome.truth)) for outcome in outcomes])


def motion_guard(outcomes: Sequence[Outcome]) -> Tensor:
    """1 for clips that move as much as the truth, less for less and for more; [N]."""
    return torch.tensor([_moves(outcome) for outcome in outcomes])


def graded(decibels: float | None) -> float:
    """A signal-to-noise ratio as a reward; None where there is none to tell."""
    if decibels is None:
        return NOTHING_TO_SAY
    return min(1.0, max(0.0, (decibels - WORST_PSNR) / (BEST_PSNR - WORST_PSNR)))


def motion(frames: Tensor) -> float:
    """Mean absolute change from frame to frame, in levels of 255; 0 for a still."""
    return float(frames.float().diff(dim=0).abs().mean()) if len(frames) > 1 else 0.0


def _preserved(outcome: Outcome) -> float:
    source = outcome.source
    if source is None:
        return NOTHING_TO_SAY
    is_same = (source.float() - outcome.truth.float()).abs().mean(dim=-1, keepdim=True) <= SAME
    truth = torch.where(is_same, source, outcome.truth)  # without what the codec alone makes of it
    return graded(unchanged_psnr(outcome.frames, source=source, truth=truth))


def _moves(outcome: Outcome) -> float:
    wanted = motion(outcome.truth)
    return _closeness(motion(outcome.frames) / wanted) if wanted >= _LEAST_MOTION else NOTHING_TO_SAY


def _closeness(ratio: float) -> float:
    """1 for a ratio of 1, falling to both sides."""
    return min(ratio, 1 / ratio) if ratio > 0 else 0.0
