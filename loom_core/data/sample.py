"""What a training sample is, decoded and encoded, and what a source of samples has to offer.

Legend: C latent channels, F latent frames, H W latent rows and columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..geometry import LatentShape
from ..types import Clip
from .tasks import TrainingTask


class SampleError(Exception):
    """A sample that cannot be used: broken file, missing caption, no bucket. It is counted and left out.

    Args:
        key: Which sample.
        reason: What is wrong with it, in one line.
    """

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"{key}: {reason}")
        self.key = key
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Decoded pictures of one sample, at their final size.

    Args:
        key: Names the sample for caches and messages; the same sample cut differently has another key.
        task: What is asked.
        instruction: Caption or instruction; empty for a reconstruction.
        target: 4k + 1 frames (1 of an image), sides multiples of 32 pixels.
        source: Of the target's size and length, or None.
        references: In the order of `@Image 1`, `@Image 2` ...
    """

    key: str
    task: TrainingTask
    instruction: str
    target: Clip
    source: Clip | None = None
    references: tuple[Clip, ...] = ()


@dataclass(frozen=True, kw_only=True)
class EncodedSample:
    """One sample as the trainer takes it: latents for the DiT, a few pictures for the MLLM.

    Args:
        key: See `Sample`.
        task: See `Sample`.
        instruction: See `Sample`.
        target: Latents [C, F, H, W], normalised.
        source: Latents of the target's size, or None.
        references: Latents of each reference.
        mllm_source: The frames of the source that the MLLM sees (`mllm.frames`), or None.
        mllm_references: Each reference as the MLLM sees it.
        seed: Of everything that is drawn for this sample at this place in the run: dropout, noise level, noise. It
            follows from the run's seed and the sample's position in the whole (all ranks') stream, so that no two
            places share draws and a resumed run draws the same.
    """

    key: str
    task: TrainingTask
    instruction: str
    target: Tensor
    source: Tensor | None = None
    references: tuple[Tensor, ...] = ()
    mllm_source: Clip | None = None
    mllm_references: tuple[Clip, ...] = ()
    seed: int = 0

    @property
    def target_tokens(self) -> int:
        """DiT tokens of the target, those that the loss is summed over."""
        return _tokens(self.target)

    @property
    def reference_tokens(self) -> int:
        """DiT tokens of all references."""
        return sum(_tokens(latents) for latents in self.references)

    @property
    def shift_tokens(self) -> int:
        """DiT tokens that the noise level is shifted by: of target and references, dropped or not."""
        return self.target_tokens + self.reference_tokens


def _tokens(latents: Tensor) -> int:
    return LatentShape(*latents.shape[1:]).tokens


@dataclass(frozen=True)
class SampleFacts:
    """What a source knows of a sample without decoding it.

    Args:
        fingerprint: Changes when its files, its text or how it is cut change.
        has_variants: Whether it may be cut at several starts.
    """

    fingerprint: str
    has_variants: bool


class SampleSource(Protocol):
    """A set of samples, of any number of tasks: a folder, a manifest, a procedural world."""

    name: str
    fingerprint: str
    """Changes when the samples change; part of the run's fingerprint."""

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def describe(self, index: int) -> SampleFacts:
        """Facts about sample `index`, by which a cache knows it.

        Raises:
            SampleError: It lacks something.
        """
        ...

    def load(self, index: int, *, generator: torch.Generator) -> Sample:
        """Decode sample `index`.

        Args:
            index: 0 to the number of samples.
            generator: Draws the start of a clip, shared by target and source.

        Raises:
            SampleError: It cannot be used.
        """
        ...
