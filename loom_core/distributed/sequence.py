"""A DiT whose sequence is spread over the ranks, from outside: it takes the place of the model where that is called.

Every rank has all weights and all of a step's latents; it embeds them all, which is little work, runs the blocks on its
own run of tokens, and gets the others' velocities back. Runs are cut from target tokens followed by reference tokens,
so a run may have both and each keeps its modulation row.

Legend: N ranks, B batch, L target tokens, R reference tokens, T = L + R, P tokens with padding to a multiple of N.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from ..models.block import BlockInputs, LoomBlock
from ..models.dit import LoomDiT, PreparedConditions
from ..models.rope import RopeTable
from .ulysses import UlyssesAttention, check_heads


class SequenceParallel:
    """Predicts as the model does; all ranks call it together with the same latents and conditions.

    Args:
        model: The same weights on all ranks.

    Raises:
        ConfigError: The ranks cannot share out its heads.
    """

    def __init__(self, model: LoomDiT) -> None:
        self.model = model
        self._rank, self._size = torch.distributed.get_rank(), torch.distributed.get_world_size()
        check_heads(model.config.num_heads, self._size)

    def __call__(self, latents: Tensor, timestep: Tensor, conditions: PreparedConditions) -> Tensor:
        """Velocity of latents [B, C, F, H, W] at timestep [B], as `LoomDiT.forward` gives it."""
        model = self.model
        tokens, inputs = model.embed(latents, timestep, conditions)
        length = tokens.shape[1]
        tokens, inputs = self._run_of(tokens, inputs)
        for block, context in zip(cast("Iterable[LoomBlock]", model.blocks), conditions.contexts, strict=True):
            tokens = block(tokens, context, inputs)
        return model.predict(self._gathered(tokens)[:, :length], inputs.time_embedding, conditions.shape)

    def _run_of(self, tokens: Tensor, inputs: BlockInputs) -> tuple[Tensor, BlockInputs]:
        """This rank's run of tokens [B, P / N, D], and what blocks are given beside it."""
        length = tokens.shape[1]
        run = -(-length // self._size)
        start = self._rank * run

        def own(values: Tensor) -> Tensor:
            part = values[:, start : start + run]
            return functional.pad(part, (0, 0, 0, run - part.shape[1]))

        rope = RopeTable(own(inputs.rope.cos), own(inputs.rope.sin))
        inputs = replace(
            inputs,
            num_target=min(max(inputs.num_target - start, 0), run),  # padding counts as references and is cut off again
            rope=rope,
            attention=UlyssesAttention(inputs.attention, tokens=length),
            context_attention=inputs.context_attention or inputs.attention,
        )
        return own(tokens), inputs

    def _gathered(self, tokens: Tensor) -> Tensor:
        """All ranks' tokens [B, P, D]."""
        runs = [torch.empty_like(tokens) for _ in range(self._size)]
        torch.distributed.all_gather(runs, tokens.contiguous())
        return torch.cat(runs, dim=1)
