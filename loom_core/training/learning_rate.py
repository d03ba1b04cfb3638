"""The learning rate of an optimiser step.

Difference from the official trainer: the warm-up counts optimiser steps. There the wrapped scheduler moves once for
every process, so that 1000 steps of warm-up become 1000 / N on N processes.
"""

from __future__ import annotations

import math

from ..config.training import OptimiserSettings


def learning_rate(step: int, settings: OptimiserSettings, *, steps: int) -> float:
    """The rate of a step: an even rise over the warm-up, then constant, or down along a cosine.

    Args:
        step: Optimiser step, from 1; whatever the number of processes and of packs to a step.
        settings: See `OptimiserSettings`.
        steps: Of the whole run, where a cosine ends.
    """
    if step < settings.warmup:
        return settings.lr * step / settings.warmup
    if settings.decay == "constant":
        return settings.lr
    start = max(settings.warmup, steps - settings.decay_steps if settings.decay_steps else 0)
    share = min(1.0, max(0, step - start) / max(1, steps - start))
    cosine = (1 + math.cos(math.pi * share)) / 2
    return settings.lr * (settings.final_lr + (1 - settings.final_lr) * cosine)
