"""The vision tower of the host's Qwen3-VL on our own patches, each picture once for all prompts that show it.

It takes the place of the host's `preprocess_embed`, whose resize is not that of Qwen's processor and which knows no
clips.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .tokens import FRAME, PictureFrame

PreprocessEmbed = Callable[..., tuple[Any, Any]]
"""(embed, device) -> (features [tokens, W], what positions and deepstack are made from)."""


class VisionFeatures:
    """Features of pictures, kept until `clear`.

    Args:
        transformer: The host's Qwen3-VL.
        original: The host's own `preprocess_embed` of it.
    """

    def __init__(self, transformer: Any, original: PreprocessEmbed) -> None:
        self._transformer, self._original = transformer, original
        self._dtype: torch.dtype | None = None
        # the pictures are kept as well, so that no other can come to have the id of one of them
        self._known: dict[tuple[int, int], tuple[PictureFrame, Tensor, Mapping[str, Any]]] = {}

    def preprocess_embed(self, embed: Mapping[str, Any], device: torch.device) -> tuple[Any, Any]:
        """Features of one of our pictures, and whatever else as the host makes them.

        Args:
            embed: Of `host_tokens`, or of the host.
            device: Where they go.
        """
        frame = embed.get(FRAME)
        if frame is None:
            return self._original(embed, device=device)
        key = (id(frame.picture), frame.index)
        if key not in self._known:
            self._dtype = self._dtype or vision_dtype(self._transformer.visual, self._original, device)
            pixels = frame.pixels.to(device=device, dtype=self._dtype)
            merged, deepstack = self._transformer.visual(pixels, frame.grid)
            self._known[key] = (frame, merged, {"grid": frame.grid, "deepstack": deepstack})
        return self._known[key][1:]

    def clear(self) -> None:
        """Let go of all features."""
        self._known.clear()


class _SeenError(Exception):
    """Ends a call once what was asked is known."""


def vision_dtype(visual: nn.Module, original: PreprocessEmbed, device: torch.device) -> torch.dtype:
    """In which precision this version of the host runs the vision tower: float32 up to 0.33, the weights' later.

    Args:
        visual: The vision tower.
        original: The host's own `preprocess_embed`, which is asked and stopped before the tower computes anything.
        device: Where the pixels would go.
    """
    found: list[torch.dtype] = []

    def look(_module: nn.Module, args: tuple[Any, ...]) -> None:
        found.append(args[0].dtype)
        raise _SeenError

    handle = visual.register_forward_pre_hook(look)
    try:
        original({"type": "image", "data": torch.zeros(1, 32, 32, 3)}, device=device)
    except _SeenError:
        pass
    finally:
        handle.remove()
    return found[0]
