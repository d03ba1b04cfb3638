"""Qwen3-VL on a device that has no room for it: its layers come one after another, its words row by row.

Three prompts are read once a run, so the weights are copied three times from where they were loaded, the mapped file as
a rule; pinning them would take as much memory again for next to nothing. The vision tower stays on the device.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..offload.blocks import streamed, tensors_of

if TYPE_CHECKING:
    from transformers import Qwen3VLModel


@contextmanager
def streamed_layers(model: Qwen3VLModel, device: torch.device) -> Iterator[None]:
    """Within, a model reads prompts on a device although most of it stays on the CPU.

    Args:
        model: On the CPU.
        device: Where it computes.
    """
    words = model.language_model.embed_tokens

    def ids_to_cpu(_module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(ids.cpu() for ids in args)

    def rows_to_device(_module: nn.Module, _args: Any, rows: Tensor) -> Tensor:
        return rows.to(device)

    handles = [words.register_forward_pre_hook(ids_to_cpu), words.register_forward_hook(rows_to_device)]
    count = len(model.language_model.layers)
    try:
        with streamed(model, "language_model.layers", device=device, count=count, staying=tensors_of(words)):
            yield
    finally:
        for handle in handles:
            handle.remove()
