"""What is benchmarked: sizes of target, references and contexts, and conditions of those sizes.

Only sizes matter to a benchmark; the values are noise. Context lengths follow the prompts that the official script
builds: a chat form, the text, a span for each still, and a clip seen as two pairs of frames.

Legend: L target tokens, R reference tokens, S context tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from loom_core.config.model import LOOMVIDEO_5B, QUARTER_TWIN, DiTConfig
from loom_core.geometry import LatentShape, latent_shape
from loom_core.planning.run import CHAT_TOKENS, NEGATIVE_TOKENS, SPAN_TOKENS, TEXT_TOKENS, TIME_TOKENS
from loom_core.types import Branch, Condition, Reference

FRAME_PAIRS = 2  # four frames of a clip reach the MLLM


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One forward pass, in sizes.

    Args:
        name: For people.
        config: The model.
        target: Size of the noised latents.
        context_tokens: S, MLLM tokens that the blocks attend to.
        has_source: Whether there is a source of the target's size.
        references: Sizes of the references.
    """

    name: str
    config: DiTConfig
    target: LatentShape
    context_tokens: int
    has_source: bool = True
    references: tuple[LatentShape, ...] = ()

    @property
    def reference_tokens(self) -> int:
        """R."""
        return sum(reference.tokens for reference in self.references)

    def sizes(self) -> str:
        """The sizes in words."""
        latents = "x".join(str(side) for side in (self.target.frames, self.target.height, self.target.width))
        words = f"latents {latents}, {self.target.tokens} target tokens"
        if self.references:
            words += f", {self.reference_tokens} reference tokens"
        return f"{words}, {self.context_tokens} context tokens"


def context_tokens(target: LatentShape, references: tuple[LatentShape, ...] = ()) -> dict[Branch, int]:
    """MLLM tokens of each branch of an edit.

    Args:
        target: Size of the source and the result; one frame is a still.
        references: Sizes of the references, stills.
    """
    frame = replace(target, frames=1)
    pairs, times = (1, 0) if target.frames == 1 else (FRAME_PAIRS, TIME_TOKENS)
    spans = pairs * (frame.tokens + SPAN_TOKENS) + sum(still.tokens + SPAN_TOKENS for still in references)
    return {
        Branch.FULL: spans + pairs * times + TEXT_TOKENS + CHAT_TOKENS,
        Branch.VISUAL: spans + CHAT_TOKENS,
        Branch.UNCONDITIONAL: NEGATIVE_TOKENS,
    }


def edit(
    name: str, config: DiTConfig, *, width: int, height: int, num_frames: int, num_references: int = 0
) -> dict[Branch, Workload]:
    """The forward passes of one step of an edit with cascaded guidance.

    Args:
        name: For people.
        config: The model.
        width: In pixels.
        height: In pixels.
        num_frames: 4k + 1.
        num_references: Stills of the same width and height.
    """
    target = latent_shape(num_frames, height, width)
    references = (replace(target, frames=1),) * num_references
    lengths = context_tokens(target, references)
    full = Workload(name=name, config=config, target=target, context_tokens=lengths[Branch.FULL], references=references)
    return {
        Branch.FULL: full,
        Branch.VISUAL: replace(full, context_tokens=lengths[Branch.VISUAL]),
        Branch.UNCONDITIONAL: replace(
            full, context_tokens=lengths[Branch.UNCONDITIONAL], has_source=False, references=()
        ),
    }


def _released(name: str, width: int, height: int, num_frames: int, num_references: int = 0) -> dict[Branch, Workload]:
    return edit(name, LOOMVIDEO_5B, width=width, height=height, num_frames=num_frames, num_references=num_references)


def full_size_edits() -> dict[str, dict[Branch, Workload]]:
    """Edits with the released model, by the key that results carry."""
    return {
        "edit_480p81": _released("video edit 832x480, 81 frames", 832, 480, 81),
        "edit_480p81_4ref": _released("video edit 832x480, 81 frames, 4 references", 832, 480, 81, 4),
        "edit_720p121": _released("video edit 1280x704, 121 frames", 1280, 704, 121),
        "edit_image1024": _released("image edit 1024x1024", 1024, 1024, 1),
    }


TWIN_VIDEO = Workload(
    name="video edit on the quarter-size twin", config=QUARTER_TWIN, target=LatentShape(21, 14, 28), context_tokens=216
)
"""A quarter of the tokens of the released model's video edit at 832x480 with 81 frames, for a model a quarter as wide.

The shares of attention, feed-forward part and contexts in the work are those of the released model.
"""

TWIN_IMAGE = Workload(
    name="image edit on the quarter-size twin", config=QUARTER_TWIN, target=LatentShape(1, 32, 32), context_tokens=274
)
"""The same for the image edit at 1024x1024."""


def random_condition(
    workload: Workload, *, device: torch.device | str, dtype: torch.dtype, generator: torch.Generator | None = None
) -> Condition:
    """A condition of the workload's sizes.

    Args:
        workload: The sizes.
        device: Where it lies; "meta" makes no values.
        dtype: Of its tensors.
        generator: Makes the values reproducible.
    """

    def noise(*size: int) -> Tensor:
        return torch.randn(size, device=device, dtype=dtype, generator=generator)

    def latents(shape: LatentShape) -> Tensor:
        return noise(workload.config.in_channels, shape.frames, shape.height, shape.width)

    config = workload.config
    return Condition(
        mllm_hidden_states=tuple(noise(workload.context_tokens, config.mllm_dim) for _ in range(config.num_layers)),
        source_latents=latents(workload.target) if workload.has_source else None,
        references=tuple(Reference(latents(shape)) for shape in workload.references),
    )
