"""The nouns that every part of `loom_core` shares.

Legend: B batch, F latent frames, H W latent rows and columns, L target tokens, R reference tokens, S context tokens,
D width of the DiT, C latent channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a request is checked before torch is imported
    from torch import Tensor


class Task(Enum):
    """What is asked of the model; the values are the names on the command line."""

    TEXT_TO_VIDEO = "text-to-video"
    TEXT_TO_IMAGE = "text-to-image"
    EDIT_VIDEO = "edit-video"
    EDIT_IMAGE = "edit-image"
    REFERENCE_EDIT = "reference-edit"
    REFERENCE_TO_VIDEO = "reference-to-video"
    REFERENCE_TO_IMAGE = "reference-to-image"


class Branch(Enum):
    """One of the forward passes that guidance combines."""

    UNCONDITIONAL = "unconditional"
    VISUAL = "visual"
    FULL = "full"


@dataclass(frozen=True)
class Clip:
    """Decoded pictures, upright and in order.

    Args:
        frames: uint8 [F, height, width, 3], RGB.
        fps: Frames a second of `frames`; 0 for a still image.
        is_image: True for a still image (then F is 1).
        source_path: The file it came from, if any; sound is copied from there.
        start_seconds: Where in that file the first frame lies.
    """

    frames: Tensor
    fps: float
    is_image: bool = False
    source_path: Path | None = None
    start_seconds: float = 0.0

    @property
    def num_frames(self) -> int:
        """Number of pictures."""
        return self.frames.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.frames.shape[2], self.frames.shape[1]


@dataclass(frozen=True)
class Reference:
    """One in-context reference of one sample, in latents.

    Args:
        latents: [C, F, H, W], normalised; any size, H and W even.
        temporal_index: RoPE time index of all its frames; None for the trained -10 * (n + 1) at position n (from 0).
    """

    latents: Tensor
    temporal_index: int | None = None


@dataclass(frozen=True)
class Condition:
    """Everything that one branch of one sample is conditioned on.

    Args:
        mllm_hidden_states: One [S, W] a DiT block, in block order (W the MLLM's width).
        source_latents: [C, F, H, W] of the target's size, or None for no source.
        references: In the order of `@Image 1`, `@Image 2` ...
        source_strength: Multiplies the source term (1 as trained).
        source_curve: Points (sigma, factor), falling in sigma, whose factor, with straight lines between them,
            multiplies `source_strength` at each step; empty for 1 throughout.
        source_mask: [F, H / 2, W / 2], a factor for each token of the source; None for 1 everywhere.
    """

    mllm_hidden_states: tuple[Tensor, ...]
    source_latents: Tensor | None = None
    references: tuple[Reference, ...] = ()
    source_strength: float = 1.0
    source_curve: tuple[tuple[float, float], ...] = ()
    source_mask: Tensor | None = None
