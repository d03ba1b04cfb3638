"""The shapes of the parts that can be exchanged: codec, encoder, denoiser, progress.

A solver's stands beside the solvers, with the history that it hands on (`sampling/solvers.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from .types import Branch, Clip, Task


class VideoCodec(Protocol):
    """A VAE of Wan geometry: 16 x 16 pixels x 4 frames a latent, the first frame alone.

    Tensors may be given on any device; they are moved to the codec's a chunk at a time, and what comes back is there
    (a preview is on the CPU).
    """

    latent_channels: int
    tile_latents: int | None
    """Side of the tiles, in latents, in which it works to save memory; None for whole frames. Can be set between calls;
    a codec that needs no tiles takes no notice."""

    def encode(self, pixels: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Pixels to normalised latents.

        Args:
            pixels: [B, 3, frames, height, width] in [-1, 1]; frames 4k + 1, sides multiples of 16.
            generator: Draws from the posterior as the official run does; None takes its mode.

        Returns:
            [B, C, F, H, W], float32.
        """
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Normalised latents [B, C, F, H, W] to pixels [B, 3, frames, height, width] in [-1, 1], float32."""
        ...

    def decode_chunks(self, latents: Tensor) -> Iterator[Tensor]:
        """The same as `decode`, a latent frame at a time: pixels [B, 3, 1 or 4, height, width], in order.

        Memory does not grow with the number of frames. The codec must not be moved before the last chunk.
        """
        ...

    def preview(self, latents: Tensor) -> Tensor:
        """A small, cheap picture of latents [C, F, H, W]: uint8 [H, W, 3] on the CPU, of the middle frame."""
        ...

    def to(self, device: torch.device | str) -> None:
        """Move the weights, and with them all computation from then on; to the CPU, to free a GPU for the DiT."""
        ...

    def release(self) -> None:
        """Free the weights; the codec may refuse to encode and decode afterwards."""
        ...


@dataclass(frozen=True)
class EncodedPrompt:
    """MLLM states of the branches that were asked for; each holds one [S, W] a DiT block, in block order.

    Args:
        full: Of the whole prompt; None if not asked for.
        negative: Of the negative prompt; None if not asked for.
        visual: Of the vision spans alone; None if not asked for, or if the request has neither source nor references.
    """

    full: tuple[Tensor, ...] | None = None
    negative: tuple[Tensor, ...] | None = None
    visual: tuple[Tensor, ...] | None = None

    @property
    def by_branch(self) -> dict[Branch, tuple[Tensor, ...]]:
        """The states that are there."""
        states = {Branch.UNCONDITIONAL: self.negative, Branch.VISUAL: self.visual, Branch.FULL: self.full}
        return {branch: layers for branch, layers in states.items() if layers is not None}


class MLLMEncoder(Protocol):
    """The multimodal language model that reads prompt, references and source."""

    def encode(
        self,
        task: Task,
        prompt: str,
        *,
        negative_prompt: str,
        references: Sequence[Clip] = (),
        source: Clip | None = None,
        layout: str = "official",
        branches: Collection[Branch] = tuple(Branch),
    ) -> EncodedPrompt:
        """States of the last `num_blocks` decoder layers, on the CPU, for the prompts of `branches`."""
        ...


class Denoiser(Protocol):
    """A model that predicts velocities; `LoomDiT` is one."""

    def __call__(self, latents: Tensor, timestep: Tensor, conditions: Any) -> Tensor:
        """Velocity of latents [B, C, F, H, W] at timestep [B], under conditions that it prepared itself."""
        ...


@runtime_checkable
class JointDenoiser(Denoiser, Protocol):
    """One that does the work of all branches of guidance together."""

    def together(self, latents: Tensor, timestep: Tensor, conditions: Sequence[Any]) -> Sequence[Tensor]:
        """Velocities of the same latents under each of several conditions; see `Denoiser`."""
        ...


@dataclass(frozen=True)
class StepReport:
    """What a progress display learns after each denoising step.

    Args:
        step: Steps done, from 1.
        num_steps: Steps in all.
        sigma: Noise level after the step, in [0, 1].
        elapsed_seconds: Since the first step began.
        remaining_seconds: Estimate for the rest.
        clean_latents: The current guess of the result, [B, C, F, H, W]; for a latent preview.
    """

    step: int
    num_steps: int
    sigma: float
    elapsed_seconds: float
    remaining_seconds: float
    clean_latents: Tensor


class Progress(Protocol):
    """Receives a report after every step; returning False cancels the run."""

    def __call__(self, report: StepReport) -> bool | None:
        """Show the report; return False to stop before the next step."""
        ...
