"""In-context references: extra tokens after the target's, at negative time (Negative Temporal RoPE).

A reference goes through the target's own patch embedding, gets no source term and no timestep modulation, keeps its own
size and frame count, and leaves before the head. Its frames all sit at one time index, -10 * (n + 1) for the n-th.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ..errors import ConfigError
from ..geometry import PATCH, LatentShape
from ..types import Condition, Reference
from .padding import length_mask
from .rope import MakeTable, RopeTable, reference_temporal_index
from .source import patchify


@dataclass(frozen=True)
class ReferenceTokens:
    """The references of a batch, padded to the longest sample.

    Args:
        tokens: [B, R, D].
        rope: Tables of [B, R, head_dim / 2].
        mask: bool [B, R], False on padding; None when nothing was padded.
    """

    tokens: Tensor
    rope: RopeTable
    mask: Tensor | None


def checked_reference(reference: Reference, in_channels: int) -> LatentShape:
    """The size of a reference's latents.

    Raises:
        ConfigError: Other channels than the model's, or odd rows or columns.
    """
    channels, frames, height, width = reference.latents.shape
    if channels == in_channels and height % PATCH == 0 and width % PATCH == 0 and min(frames, height, width) > 0:
        return LatentShape(frames, height, width)
    raise ConfigError(
        f"reference latents of size {tuple(reference.latents.shape)}",
        expected=f"[{in_channels}, frames, rows, columns] with even rows and columns",
        fix="encode the reference with the Wan 2.2 VAE at a size whose sides are multiples of 32 pixels",
    )


def _sample_tokens(
    embedding: nn.Module,
    references: Sequence[Reference],
    target: Tensor,
    *,
    dim: int,
    head_dim: int,
    make_table: MakeTable,
) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens [R, D], cosines and sines [R, head_dim / 2] of one sample's references."""
    tokens = [target.new_zeros(0, dim)]
    tables = [RopeTable(torch.zeros(1, 0, head_dim // 2), torch.zeros(1, 0, head_dim // 2))]
    for position, reference in enumerate(references):
        shape = checked_reference(reference, target.shape[1])
        index = reference.temporal_index
        index = reference_temporal_index(position) if index is None else index
        tables.append(make_table(shape, temporal_index=index))
        tokens.append(patchify(embedding, reference.latents[None].to(target))[0])
    cos, sin = torch.cat([table.cos[0] for table in tables]), torch.cat([table.sin[0] for table in tables])
    return torch.cat(tokens), cos.to(target.device), sin.to(target.device)


def reference_tokens(
    embedding: nn.Module,
    conditions: Sequence[Condition],
    target: Tensor,
    *,
    dim: int,
    head_dim: int,
    make_table: MakeTable,
) -> ReferenceTokens | None:
    """Tokens and rotary tables of every sample's references.

    Args:
        embedding: The model's `patch_embedding`.
        conditions: One a sample, each with any number of references of any size.
        target: Latents [B, C, F, H, W] whose dtype and device are taken.
        dim: Width D of a token.
        head_dim: Width of an attention head.
        make_table: Makes the tables, see `shared_tables`.

    Returns:
        None when no sample has a reference.

    Raises:
        ConfigError: A reference has other channels than the target, or odd rows or columns.
    """
    if not any(condition.references for condition in conditions):
        return None
    samples = [
        _sample_tokens(embedding, condition.references, target, dim=dim, head_dim=head_dim, make_table=make_table)
        for condition in conditions
    ]
    tokens, cos, sin = (pad_sequence(list(parts), batch_first=True) for parts in zip(*samples, strict=True))
    return ReferenceTokens(tokens, RopeTable(cos, sin), length_mask([sample[0].shape[0] for sample in samples], tokens))
