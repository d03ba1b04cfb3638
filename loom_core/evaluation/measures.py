"""Numbers beside right and wrong: what should have stayed, how it moves, how steady and how sharp it is.

Legend: F frames. All levels are those of 8 bits, 0 to 255.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from ..data.world.render import render
from ..data.world.samples import Request
from .regions import dilate, erode

PEAK = 255.0
EDGE = 4
"""Pixels next to a change that do not count as unchanged: a codec spreads the change about so far."""
_LEAST_UNCHANGED = 0.02  # of the picture; less says nothing
_LEAST_MOTION = 1.0  # root mean squared frame difference, in levels


def psnr(mean_squared_error: float) -> float:
    """Decibels of an error; infinite for none.

    Source: PSNR = 10 log10(peak^2 / mse).
    """
    return math.inf if mean_squared_error == 0 else 10 * math.log10(PEAK**2 / mean_squared_error)


def unchanged_psnr(output: Tensor, *, source: Tensor, truth: Tensor) -> float | None:
    """How well that stayed which the edit does not touch, in decibels against the source.

    Args:
        output: uint8 [F, height, width, 3].
        source: What was edited, of the same size.
        truth: The right answer; where it equals the source, nothing may change, but for a seam of `EDGE` pixels.

    Returns:
        None when next to nothing may stay, as of a style.
    """
    same = erode((source == truth).all(dim=-1), EDGE)
    if float(same.float().mean()) < _LEAST_UNCHANGED:
        return None
    return psnr(float((output[same].float() - source[same].float()).square().mean()))


def motion_agreement(output: Tensor, request: Request) -> float | None:
    """Correlation of how much each pixel changes from frame to frame, in output and truth, about the moving things.

    The truth of an edit moves as its source does, in its new looks; so colours do not matter, only where and when
    something moves. Pixels are those within and next to things that move in the truth.

    Args:
        output: uint8 [F, height, width, 3].
        request: What was asked.

    Returns:
        -1 to 1; None for a still, where nothing moves, and for edits of motion and camera themselves.
    """
    num_frames, height, width = output.shape[:3]
    if num_frames == 1 or any(ask.attribute in ("motion", "camera") for ask in request.asks):
        return None
    truth = render(request.after, num_frames=num_frames, width=width, height=height)
    moving = [index for index, thing in enumerate(request.after.things) if thing.motion != "stays still"]
    if not moving:
        return None
    covered = (truth.masks[moving] > 0).any(dim=0)
    region = dilate(covered[1:] | covered[:-1])
    energies = [_frame_changes(frames)[region] for frames in (output, truth.frames)]
    if float(energies[1].square().mean()) < _LEAST_MOTION**2:
        return None
    if float(energies[0].std()) == 0:
        return 0.0  # frozen
    return float(torch.corrcoef(torch.stack(energies))[0, 1])


def _frame_changes(frames: Tensor) -> Tensor:
    """Mean absolute change over the colours, [F - 1, height, width]."""
    return frames.float().diff(dim=0).abs().mean(dim=-1)


def flicker(output: Tensor, *, truth: Tensor) -> float | None:
    """Mean absolute change from frame to frame, in levels, where the truth does not change; None of a still."""
    if output.shape[0] == 1:
        return None
    steady = erode((truth.diff(dim=0) == 0).all(dim=-1), EDGE)
    return float(_frame_changes(output)[steady].mean()) if bool(steady.any()) else None


def sharpness(output: Tensor, *, truth: Tensor) -> float:
    """Mean size of the Laplacian of the brightness, as a part of the truth's: 1 as sharp, less blurred, more noisy."""
    return laplacian(output) / max(laplacian(truth), 1e-6)


def laplacian(frames: Tensor) -> float:
    """Mean size of the Laplacian of the brightness, in levels, of uint8 [F, height, width, 3]."""
    brightness = frames.float().mean(dim=-1)[:, None]  # [F, 1, height, width]
    kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])
    return float(functional.conv2d(brightness, kernel[None, None]).abs().mean())
