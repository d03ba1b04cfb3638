"""What travels between our own nodes where ComfyUI has no word for it: a source, a row of references, a training set.

Pictures are in ComfyUI's form throughout: float32 [frames, height, width, 3] in [0, 1].
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from comfy_api.latest import io
from torch import Tensor

if TYPE_CHECKING:
    from ..loom_core.config.data import DataSetConfig
    from ..loom_core.data.framing import Framing

Source = io.Custom("LOOMVIDEO_SOURCE")
"""Socket of a `SourceClip`."""
References = io.Custom("LOOMVIDEO_REFERENCES")
"""Socket of a tuple of `ReferenceClip`, in the order of `@Image 1`, `@Image 2` ..."""
Dataset = io.Custom("LOOMVIDEO_DATASET")
"""Socket of a `TrainingSet`."""
Lora = io.Custom("LORA_MODEL")
"""ComfyUI's own socket of a LoRA's tensors by name, as its training and its Load LoRA Model know it."""


class OriginalFrames(Protocol):
    """Frames that can be gone through any number of times; a tensor [frames, height, width, 3] is one."""

    def __len__(self) -> int:
        """Number of frames."""
        ...

    def __iter__(self) -> Iterator[Tensor]:
        """Each frame, float32 [height, width, 3] in [0, 1]."""
        ...


@dataclass(frozen=True)
class SourceOrigin:
    """What the source was before it was resampled and resized, so that an edit can be given back the same way.

    Args:
        width: In pixels.
        height: In pixels.
        num_frames: Frames of the part that is edited, at `fps`.
        fps: Frames a second.
        frames: As they came, each float32 [height, width, 3] in [0, 1]; those of a file are decoded anew each time they
            are gone through, since the originals of a few seconds are gigabytes.
        audio: ComfyUI's AUDIO of the same part, or None.
        fit: How it was made to fill the working size: "cover" or "contain".
    """

    width: int
    height: int
    num_frames: int
    fps: float
    frames: OriginalFrames
    audio: Mapping[str, Any] | None
    fit: str


@dataclass(frozen=True)
class SourceClip:
    """A source as the model gets it.

    Args:
        frames: float32 [4k + 1, height, width, 3] in [0, 1], at the working rate and size.
        latents: As the VAE made them (not normalised), [1, 48, F, H, W].
        fps: Working rate, frames a second.
        is_image: True for a still.
        strength: Multiplies the source term, 1 as trained.
        strength_curve: Points (sigma, factor) that multiply `strength` over the run, falling in sigma; empty for none.
        mask: float32 [F, H / 2, W / 2] in [0, 1], a factor for each token; None for 1 everywhere.
        origin: What it was before.
    """

    frames: Tensor
    latents: Tensor
    fps: float
    is_image: bool
    strength: float
    strength_curve: tuple[tuple[float, float], ...]
    mask: Tensor | None
    origin: SourceOrigin


@dataclass(frozen=True)
class ReferenceClip:
    """A reference as the model gets it.

    Args:
        frames: float32 [4k + 1, height, width, 3] in [0, 1].
        latents: As the VAE made them (not normalised), [1, 48, F, H, W].
        temporal_index: Of all its frames.
    """

    frames: Tensor
    latents: Tensor
    temporal_index: int


@dataclass(frozen=True)
class TrainingSet:
    """Samples that were looked through and can be trained on.

    Args:
        config: Where they lie, and their task.
        framing: How they are cut.
        count: Number of usable ones.
        max_bad_share: Largest share of others.
    """

    config: DataSetConfig
    framing: Framing
    count: int
    max_bad_share: float
