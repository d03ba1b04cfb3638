"""Several prompts in one batch, padded on the right, as transformers' Qwen3-VL takes them.

Attention is causal and padding stands behind the words, so a prompt's states are those that it has alone.

Legend: B prompts, S tokens of the longest, P patches of all pictures of a kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .tokens import TokenizedPrompt
from .vision import VisionPatches

_KINDS = (("pixel_values", "image_grid_thw", "images"), ("pixel_values_videos", "video_grid_thw", "videos"))


@dataclass(frozen=True)
class PromptBatch:
    """What the model is given.

    Args:
        input_ids: int64 [B, S], `pad_id` behind each prompt.
        attention_mask: int64 [B, S], 0 on padding.
        pictures: Pixels [P, patch] and grids [pictures, 3] by transformers' names; kinds without a picture are left
            out.
        lengths: Tokens of each prompt.
    """

    input_ids: Tensor
    attention_mask: Tensor
    pictures: dict[str, Tensor]
    lengths: tuple[int, ...]

    def to(self, device: torch.device, dtype: torch.dtype) -> PromptBatch:
        """The same on a device, pixels in a dtype."""
        pictures = {
            name: value.to(device, dtype) if value.is_floating_point() else value.to(device)
            for name, value in self.pictures.items()
        }
        return PromptBatch(self.input_ids.to(device), self.attention_mask.to(device), pictures, self.lengths)


def batch_prompts(prompts: Sequence[TokenizedPrompt], *, pad_id: int) -> PromptBatch:
    """Prompts of any length and with any pictures as one batch.

    Args:
        prompts: At least one.
        pad_id: Stands behind the shorter ones; must not be a picture's token.
    """
    ids = [prompt.input_ids for prompt in prompts]
    lengths = tuple(map(len, ids))
    mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    pictures: dict[str, Tensor] = {}
    for pixels, grids, kind in _KINDS:
        patches: list[VisionPatches] = [picture for prompt in prompts for picture in getattr(prompt, kind)]
        if patches:
            pictures[pixels] = torch.cat([picture.pixels for picture in patches])
            pictures[grids] = torch.tensor([picture.grid for picture in patches])
    return PromptBatch(pad_sequence(ids, batch_first=True, padding_value=pad_id), mask.long(), pictures, lengths)
