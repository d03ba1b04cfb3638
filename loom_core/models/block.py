"""One transformer block: self-attention, cross-attention to its MLLM layer, feed-forward."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat

import torch
from einops import rearrange
from torch import Tensor, nn

from .attention import CrossAttention, KeysValues, SelfAttention
from .fused import writes_in_place
from .layers import Modulation, Rows, gated_residual, norm_modulate, split_rows
from .operations import Attention, LayerFactory, cast_like
from .rope import RopeTable
from .segments import Segments, segment_rows

NUM_ROWS = 6  # shift, scale and gate, for self-attention and for the feed-forward part


@dataclass(frozen=True)
class BlockInputs:
    """What all blocks of a forward pass are given alike.

    Args:
        time_embedding: [B, D], the timestep's; the head reads it too.
        time_rows: float32 [B, 6 * D], its projection.
        num_target: L, target tokens; the others are reference tokens.
        rope: Table of the L + R tokens.
        attention: The attention function.
        token_mask: bool [B, L + R], False on padding; None without padding.
        context_mask: bool [B, S], False on padding; None without padding.
        context_attention: The attention function to the context, where it is another; None for `attention`.
        segments: Of a pack, which tokens take which sample's row; None for a batch. B of `time_embedding` and
            `time_rows` is then the number of samples, B of everything else 1, and `num_target` counts all targets.
        drops_references: Give back target tokens alone, and compute of the references their keys and values alone.
            Not for a pack.
    """

    time_embedding: Tensor
    time_rows: Tensor
    num_target: int
    rope: RopeTable
    attention: Attention
    token_mask: Tensor | None = None
    context_mask: Tensor | None = None
    context_attention: Attention | None = None
    segments: Segments | None = None
    drops_references: bool = False


def inputs_in_turn(inputs: BlockInputs, num_blocks: int) -> Iterator[BlockInputs]:
    """What each block of a row is given: nobody reads the references after the last one."""
    yield from repeat(inputs, num_blocks - 1)
    yield replace(inputs, drops_references=True)


class Gelu(nn.GELU):
    """GELU by its tanh formula; without gradients the result takes the place of what comes in, a layer's fresh output.

    The hidden states of the feed-forward part are the largest tensors of a pass, so that they exist once, not twice.
    """

    def __init__(self) -> None:
        super().__init__(approximate="tanh")

    def forward(self, x: Tensor) -> Tensor:
        """Activate."""
        return torch.ops.aten.gelu_(x, approximate=self.approximate) if writes_in_place(x) else super().forward(x)


class LoomBlock(nn.Module):
    """A Wan block whose cross-attention reads one layer of the MLLM (Deepstack injection)."""

    def __init__(self, dim: int, ffn_dim: int, *, num_heads: int, eps: float, layers: LayerFactory) -> None:
        super().__init__()
        self.eps = eps
        self.self_attn = SelfAttention(dim, num_heads, eps=eps, layers=layers)
        self.cross_attn = CrossAttention(dim, num_heads, eps=eps, layers=layers)
        self.norm3 = layers.layer_norm(dim, eps=eps)
        self.ffn = nn.Sequential(layers.linear(dim, ffn_dim), Gelu(), layers.linear(ffn_dim, dim))
        self.modulation = layers.parameter(1, NUM_ROWS, dim)

    def _modulations(self, inputs: BlockInputs, *, has_references: bool) -> tuple[Modulation, Modulation]:
        time_rows = rearrange(inputs.time_rows, "b (k d) -> b k d", k=NUM_ROWS)
        table = cast_like(self.modulation, time_rows)
        rows: Sequence[Rows]
        if inputs.segments is None:
            rows = split_rows(table, time_rows, has_references=has_references)
        else:
            rows = segment_rows(table, time_rows, inputs.segments)
        return Modulation(*rows[:3]), Modulation(*rows[3:])

    def forward(self, tokens: Tensor, context: Tensor | KeysValues, inputs: BlockInputs) -> Tensor:
        """Run the block.

        Args:
            tokens: [B, L + R, D]: target tokens, then reference tokens.
            context: Of this block's MLLM layer: projected [B, S, D], or its keys and values.
            inputs: The same for every block.

        Returns:
            [B, L + R, D], or [B, L, D].
        """
        num_target = inputs.num_target
        has_references = tokens.shape[1] > num_target
        attn, ffn = self._modulations(inputs, has_references=has_references)
        kept, gate = tokens, attn.gate
        if has_references and inputs.drops_references:
            targets, ffn = self._modulations(inputs, has_references=False)
            kept, gate = tokens[:, :num_target], targets.gate

        # what is normed has no name here, so that it is gone as soon as it was used
        tokens = gated_residual(
            kept,
            self.self_attn(
                norm_modulate(tokens, attn.shift, attn.scale, num_target=num_target, eps=self.eps),
                inputs.rope,
                inputs.attention,
                inputs.token_mask,
                num_queries=kept.shape[1],
            ),
            gate,
            num_target=num_target,
        )

        to_context = inputs.context_attention or inputs.attention
        tokens = tokens + self.cross_attn(self.norm3(tokens), context, to_context, inputs.context_mask)

        return gated_residual(
            tokens,
            self.ffn(norm_modulate(tokens, ffn.shift, ffn.scale, num_target=num_target, eps=self.eps)),
            ffn.gate,
            num_target=num_target,
        )
