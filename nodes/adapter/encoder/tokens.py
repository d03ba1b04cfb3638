"""Tokenised prompts in the form that the host's text encoders take: an id each, and one entry a picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ....loom_core.mllm.tokens import SpecialTokens, TokenizedPrompt
from ....loom_core.mllm.vision import VisionPatches

FRAME = "loom_frame"
"""Entry of the host's embedding that carries a `PictureFrame`."""


@dataclass(frozen=True)
class PictureFrame:
    """A still, or the frames of a clip that share a patch.

    Args:
        picture: The whole still or clip.
        index: Which of its temporal patches.
    """

    picture: VisionPatches
    index: int

    @property
    def pixels(self) -> Tensor:
        """[h * w, C * temporal_patch * patch * patch]."""
        size = self.picture.grid[1] * self.picture.grid[2]
        return self.picture.pixels[self.index * size : (self.index + 1) * size]

    @property
    def grid(self) -> Tensor:
        """(1, h, w) in patches, as the host's vision tower takes it: int64 [1, 3]."""
        return torch.tensor([[1, *self.picture.grid[1:]]])


def host_tokens(prompt: TokenizedPrompt, special: SpecialTokens) -> list[int | dict[str, Any]]:
    """What the host's `SDClipModel.encode` takes for one prompt.

    Args:
        prompt: From `loom_core.mllm.reader`.
        special: Ids of the tokens that stand for pictures.

    Returns:
        Ids in reading order; each run of picture tokens is one embedding, which the host puts in again as many.
    """
    frames = {
        special.image_pad: _frames(prompt.images),
        special.video_pad: _frames(prompt.videos),
    }
    entries: list[int | dict[str, Any]] = []
    previous = -1
    for token in prompt.input_ids.tolist():
        if token not in frames:
            entries.append(token)
        elif token != previous:  # between two pictures there is always the end of the first
            entries.append({"type": "image", FRAME: next(frames[token])})
        previous = token
    return entries


def _frames(pictures: tuple[VisionPatches, ...]) -> Iterator[PictureFrame]:
    return (PictureFrame(picture, index) for picture in pictures for index in range(picture.grid[0]))
