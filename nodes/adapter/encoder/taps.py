"""States of the last decoder layers of the host's Qwen3-VL, read off while it runs.

The state of a layer is what the next one is given (after the last, the final norm): deepstack features added, norm not
applied. Hooks on those inputs take them one by one to the CPU in the precision of the conditioning. The host's own
intermediate outputs would hold all of them on the GPU in float32, twice, and the last one normed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ....loom_core.errors import WeightsError


@contextmanager
def tapped(
    model: Any, count: int, *, num_tokens: int, dtype: torch.dtype, tick: Callable[[], None]
) -> Iterator[Tensor]:
    """Within, a forward pass fills the tensor that is given.

    Args:
        model: The host's language model (`layers`, `norm`), loaded, so that whatever patches it is in place.
        count: How many of the last layers are kept, 1 to their number.
        num_tokens: Length of the prompt.
        dtype: Of the tensor.
        tick: Called before every layer but the first, and once after the last; what it raises ends the pass.

    Returns:
        On the CPU: [1, num_tokens, count * W], the layers side by side.

    Raises:
        WeightsError: A layer was passed over.
    """
    readers: list[nn.Module] = [*model.layers[1:], model.norm]  # whoever is given the state of layer 0, 1, 2 ...
    first, width = len(readers) - count, model.config.hidden_size
    states = torch.empty(1, num_tokens, count * width, dtype=dtype)
    seen: set[int] = set()

    def hook_for(layer: int) -> Callable[..., None]:
        def keep(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if layer in seen:
                return  # some of the host's encoders norm what they give out once more
            seen.add(layer)
            tick()
            place = layer - first
            if place >= 0:
                # a copy now: the host's layers write their result into their input
                states[..., place * width : (place + 1) * width].copy_(args[0] if args else kwargs["x"])

        return keep

    handles = [
        reader.register_forward_pre_hook(hook_for(layer), with_kwargs=True) for layer, reader in enumerate(readers)
    ]
    try:
        yield states
    finally:
        for handle in handles:
            handle.remove()
    if len(seen) < len(readers):
        raise WeightsError(
            f"states of {len(seen)} of the {len(readers)} layers of the encoder",
            expected="all of them",
            fix="take out nodes that change the CLIP, such as compilers",
        )
