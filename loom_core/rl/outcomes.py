"""Answers as pictures, beside what they were made from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..protocols import VideoCodec
from ..training.pictures import decoded_frames
from .rewards.base import Outcome
from .rollout import Rollout


class Pictures:
    """Decodes answers; source and target of a prompt once for all its answers.

    Args:
        codec: Makes pictures of latents.
        device: Of the run.
    """

    def __init__(self, codec: VideoCodec, *, device: torch.device) -> None:
        self.codec, self.device = codec, device

    def __call__(self, rollouts: Sequence[Rollout]) -> list[Outcome]:
        """What rewards are given, in the order of the answers."""
        given: dict[int, tuple[Tensor, Tensor | None]] = {}
        outcomes = []
        for rollout in rollouts:
            sample = rollout.sample
            if rollout.prompt not in given:
                source = None if sample.source is None else self._decoded(sample.source)
                given[rollout.prompt] = self._decoded(sample.target), source
            truth, source = given[rollout.prompt]
            frames = self._decoded(rollout.clean)
            outcomes.append(Outcome(sample=sample, frames=frames, truth=truth, source=source, latents=rollout.clean))
        return outcomes

    def _decoded(self, latents: Tensor) -> Tensor:
        return decoded_frames(self.codec, latents, device=self.device)
