"""A forward pass whose timestep modulation is written out for every token, as the official code does it.

For comparison only: it computes what `LoomDiT.forward` computes, through the model's own parts; only the modulation
differs, and that references go through all of the last block. `LoomDiT` broadcasts one row for the target and one for
the references; here each block adds its table to a row for every token, in float32, once for its attention and once for
its feed-forward part.

Legend: B batch, L target tokens, R reference tokens, D width.
"""

from __future__ import annotations

from typing import cast

import torch
from einops import rearrange, repeat
from torch import Tensor

from loom_core.geometry import PATCH
from loom_core.models.attention import KeysValues
from loom_core.models.block import NUM_ROWS, LoomBlock
from loom_core.models.dit import LoomDiT, PreparedConditions
from loom_core.models.layers import TwoRows, gated_residual, norm_modulate, sinusoidal_embedding
from loom_core.models.operations import Attention
from loom_core.models.rope import RopeTable
from loom_core.models.source import add_source, patchify


def rows_of_tokens(time_rows: Tensor, *, num_target: int, num_reference: int) -> Tensor:
    """The timestep's rows [B, 6 * D] for every target token, and zeros for every reference token.

    Returns:
        [B, L + R, 6, D].
    """
    target = repeat(time_rows, "b (k d) -> b l k d", k=NUM_ROWS, l=num_target)
    return torch.cat((target, target.new_zeros(target.shape[0], num_reference, *target.shape[2:])), dim=1)


def _rows(block: LoomBlock, token_rows: Tensor) -> list[TwoRows]:
    """Six rows a token, each float32 [B, L + R, D]."""
    rows = (block.modulation.float()[:, None] + token_rows.float()).unbind(2)
    return [TwoRows(row, None) for row in rows]


def _attention(
    block: LoomBlock, tokens: Tensor, token_rows: Tensor, *, rope: RopeTable, attention: Attention
) -> Tensor:
    count = tokens.shape[1]
    shift, scale, gate = _rows(block, token_rows)[:3]
    normed = norm_modulate(tokens, shift, scale, num_target=count, eps=block.eps)
    return gated_residual(tokens, block.self_attn(normed, rope, attention), gate, num_target=count)


def _feed_forward(block: LoomBlock, tokens: Tensor, token_rows: Tensor) -> Tensor:
    count = tokens.shape[1]
    shift, scale, gate = _rows(block, token_rows)[3:]
    normed = norm_modulate(tokens, shift, scale, num_target=count, eps=block.eps)
    return gated_residual(tokens, block.ffn(normed), gate, num_target=count)


def run_block(
    block: LoomBlock,
    tokens: Tensor,
    token_rows: Tensor,
    *,
    rope: RopeTable,
    context: KeysValues,
    attention: Attention,
) -> Tensor:
    """What `LoomBlock.forward` does, with `token_rows` [B, L + R, 6, D] in place of the timestep's row."""
    # The halves are functions of their own, as in the official code, so that the rows of one die before the other's.
    tokens = _attention(block, tokens, token_rows, rope=rope, attention=attention)
    tokens = tokens + block.cross_attn(block.norm3(tokens), context, attention)
    return _feed_forward(block, tokens, token_rows)


def forward_row_per_token(model: LoomDiT, latents: Tensor, timestep: Tensor, conditions: PreparedConditions) -> Tensor:
    """What `LoomDiT.forward` does, for samples that need no padding.

    Args:
        model: The model.
        latents: [B, C, F, H, W].
        timestep: [B], 0 to 1000.
        conditions: Made by `model.prepare`.

    Returns:
        [B, C, F, H, W].
    """
    if conditions.token_mask is not None or conditions.context_mask is not None:
        raise ValueError("samples of unequal length are not supported here")
    shape = conditions.shape
    tokens = patchify(model.patch_embedding, latents)
    if conditions.source is not None:
        tokens = add_source(tokens, conditions.source, timestep)
    if conditions.references is not None:
        tokens = torch.cat((tokens, conditions.references.tokens), dim=1)

    sinusoid = sinusoidal_embedding(timestep, model.config.time_embed_dim).to(tokens.dtype)
    time_embedding = model.time_embedding(sinusoid)
    token_rows = rows_of_tokens(
        model.time_projection(time_embedding),
        num_target=shape.tokens,
        num_reference=tokens.shape[1] - shape.tokens,
    )
    for block, context in zip(model.blocks, conditions.contexts, strict=True):
        tokens = run_block(
            cast("LoomBlock", block),
            tokens,
            token_rows,
            rope=conditions.rope,
            context=context,
            attention=model.attention,
        )

    patches = model.head(tokens[:, : shape.tokens], time_embedding)
    sizes = {"f": shape.frames, "h": shape.height // PATCH, "w": shape.width // PATCH}
    return rearrange(patches, "b (f h w) (p q c) -> b c f (h p) (w q)", p=PATCH, q=PATCH, **sizes)
