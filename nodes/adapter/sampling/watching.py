"""What is shown of a denoising run: the host's preview and bar, a line of text, and what the panel is told."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import latent_preview
from torch import Tensor

from ....loom_core.types import Branch
from ..memory_use import MemoryMeter
from ..progress import NodeProgress, StepClock, as_clock
from ..run_state import Phase, RunState, TokenCounts
from .guider import CascadedGuider


class DenoisingWatch:
    """Watches a guider, and is called after each step: (step from 0, denoised, latents, steps in all).

    Args:
        guider: Says which branches run; it is not kept.
        latents: [B, C, F, H, W] that are sampled.
        steps: Steps in all.
        tokens: That the model works on.
    """

    def __init__(self, guider: CascadedGuider, latents: Tensor, *, steps: int, tokens: TokenCounts) -> None:
        patcher = guider.model_patcher
        self._preview = latent_preview.prepare_callback(patcher, steps)
        self._progress, self._clock = NodeProgress(), StepClock(steps)
        self._scales = (
            guider.guidance_scale,
            guider.visual_guidance_scale if "visual" in guider.original_conds else None,
        )
        self._notice = guider.notice
        self._about = guider.describe() + (f"; {guider.notice}" if guider.notice else "")
        self._meter = MemoryMeter(patcher.load_device)
        self._step_bytes, self._model_bytes = step_bytes(guider, latents), int(patcher.model_size())
        self._predicted: int | None = None
        self._left: float | None = None
        self._steps, self._done, self._tokens, self._is_loaded = steps, 0, tokens, False

    def loads(self) -> None:
        """See `Watch`."""
        self._done, self._left, self._is_loaded = 0, None, False
        self._predicted = self._meter.with_weights(self._step_bytes, to_load=self._model_bytes)
        self._progress.text(f"loading the model\n{self._about}")
        self._report(Phase.LOAD)

    def evaluates(self, branches: Sequence[Branch]) -> None:
        """See `Watch`."""
        if not self._is_loaded:
            self._is_loaded = True
            self._predicted = self._meter.with_weights(self._step_bytes)
        self._report(Phase.DENOISE, tuple(branches))

    def __call__(self, step: int, denoised: Tensor, latents: Tensor, total: int) -> None:
        """A step's prediction is there."""
        self._preview(step, denoised, latents, total)
        self._done = step + 1
        self._left = left = self._clock.remaining_seconds(self._done)
        line = f"step {self._done} of {total}, {as_clock(left)} left"
        self._progress.text(f"{line}\n{self._about}", is_frequent=self._done < total)
        if self._done == total:  # else told with the branches of the next step
            self._report(Phase.DENOISE, ())

    def _report(self, phase: Phase, branches: tuple[Branch, ...] | None = None) -> None:
        self._progress.report(
            RunState(
                phase=phase,
                step=self._done,
                steps=self._steps,
                seconds_left=self._left,
                tokens=self._tokens,
                branches=branches,
                memory=self._meter.use(self._predicted),
                guidance_scale=self._scales[0],
                visual_guidance_scale=self._scales[1],
                notice=self._notice,
            )
        )


def step_bytes(guider: CascadedGuider, latents: Tensor) -> int:
    """Bytes that a run takes beside weights, one branch after another, as the host is told.

    Args:
        guider: Holds model and conditionings.
        latents: [B, C, F, H, W] that are sampled.
    """
    model: Any = guider.model_patcher.model
    shapes: defaultdict[str, list[Sequence[int]]] = defaultdict(list)
    for conditioning in guider.original_conds.values():
        for values in conditioning:
            for name, shape in model.extra_conds_shapes(**values).items():
                shapes[name].append(shape)
    return int(model.memory_required(list(latents.shape), cond_shapes=shapes))
