"""Rotary position tables over time, height and width; references sit at negative time.

Tables are half as wide as a head: one angle for each interleaved pair of channels. The pairs of a head are shared out
as 2 * (head_dim // 6) channels for height, the same for width, and the rest for time (128 -> 44, 42, 42).

Source: official `WanRotaryPosEmbed` and `compute_ref_rotary_emb`; LoomVideo's Negative Temporal RoPE.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, partial

import torch
from einops import rearrange, repeat
from torch import Tensor

from ..geometry import PATCH, LatentShape

THETA = 10000.0
REFERENCE_STRIDE = 10
_COMPLEX_DEVICES = ("cpu", "cuda", "meta")


@dataclass(frozen=True)
class RopeTable:
    """Cosines and sines of every token's angles, each float32 [B or 1, L, head_dim / 2]."""

    cos: Tensor
    sin: Tensor

    @cached_property
    def rotation(self) -> Tensor:
        """Cos + i sin, complex64."""
        return torch.complex(self.cos, self.sin)

    def to(self, device: torch.device) -> RopeTable:
        """The same table on another device."""
        return RopeTable(self.cos.to(device), self.sin.to(device))

    def first(self, count: int) -> RopeTable:
        """The table of the first tokens alone."""
        return RopeTable(self.cos[:, :count], self.sin[:, :count])

    def append(self, other: RopeTable) -> RopeTable:
        """This table's tokens, then the other's; this one is repeated over the other's batch."""

        def join(mine: Tensor, theirs: Tensor) -> Tensor:
            return torch.cat((mine.expand(theirs.shape[0], -1, -1), theirs), dim=1)

        return RopeTable(join(self.cos, other.cos), join(self.sin, other.sin))


MakeTable = Callable[..., RopeTable]
"""Takes the shape of a video, and of a reference its `temporal_index` by name."""


def axis_dims(head_dim: int) -> tuple[int, int, int]:
    """Channels of a head that turn with time, height and width."""
    spatial = 2 * (head_dim // 6)
    return head_dim - 2 * spatial, spatial, spatial


def reference_temporal_index(position: int) -> int:
    """Trained time index of the reference at `position` (from 0): -10, -20, -30 ..."""
    return -REFERENCE_STRIDE * (position + 1)


def _axis_table(positions: Tensor, dim: int, *, rounded: bool) -> tuple[Tensor, Tensor]:
    """Cosines and sines [P, dim / 2] of `positions` [P]; angles in float64, results in float32."""
    exponents = torch.arange(0, dim, 2, dtype=torch.float64) / dim
    angles = torch.outer(positions.double(), THETA**-exponents)
    cos, sin = angles.cos().float(), angles.sin().float()
    if rounded:
        cos, sin = cos.bfloat16().float(), sin.bfloat16().float()
    return cos, sin


def rope_table(
    shape: LatentShape, head_dim: int, *, temporal_index: int | None = None, rounded: bool = False
) -> RopeTable:
    """Table for the tokens of one video or reference.

    Args:
        shape: Size in latents; a token covers 2 x 2 of them.
        head_dim: Width of an attention head.
        temporal_index: None counts frames from 0; a number puts **all** frames at that time, as references are.
        rounded: Round to bfloat16 the tables that the released weights were trained with: all of a target's, but
            only the spatial part of a reference's.

    Returns:
        A table of [1, F * H/2 * W/2, head_dim / 2], time outermost, width innermost.
    """
    frames, rows, columns = shape.frames, shape.height // PATCH, shape.width // PATCH
    times = torch.arange(frames) if temporal_index is None else torch.full((frames,), temporal_index)
    axes = (times, torch.arange(rows), torch.arange(columns))
    # parity: official buffers are cast with the model, a reference's time part is computed anew in float64
    keep_exact = (temporal_index is not None, False, False)
    tables = [
        _axis_table(positions, dim, rounded=rounded and not exact)
        for positions, dim, exact in zip(axes, axis_dims(head_dim), keep_exact, strict=True)
    ]
    patterns = ("f d -> 1 (f h w) d", "h d -> 1 (f h w) d", "w d -> 1 (f h w) d")
    sizes = {"f": frames, "h": rows, "w": columns}
    parts: list[list[Tensor]] = [[], []]
    for index, pattern in enumerate(patterns):
        other = {name: size for name, size in sizes.items() if name != pattern[0]}
        for values, table in zip(parts, tables[index], strict=True):
            values.append(repeat(table, pattern, **other))
    return RopeTable(cos=torch.cat(parts[0], dim=-1), sin=torch.cat(parts[1], dim=-1))  # [1, L, head_dim / 2]


def shared_tables(head_dim: int, *, rounded: bool = False) -> MakeTable:
    """`rope_table` for one kind of head, which makes each table once for all that ask for the same."""
    return cache(partial(rope_table, head_dim=head_dim, rounded=rounded))


def apply_rope(x: Tensor, table: RopeTable, *, num_heads: int) -> Tensor:
    """Turn interleaved channel pairs by the table's angles.

    Args:
        x: [B, L, D], queries or keys.
        table: Of the same L tokens.
        num_heads: Heads that D splits into.

    Returns:
        [B, L, D], in the dtype of x; the turn itself is in float32.
    """
    if x.device.type in _COMPLEX_DEVICES and not torch.compiler.is_compiling():
        # one complex product instead of six strided real ones
        turning = torch.view_as_complex(rearrange(x.float(), "b l (n d two) -> b l n d two", n=num_heads, two=2))
        rotation = table.rotation[:, :, None]
        is_copy = x.dtype != torch.float32 and not torch.is_grad_enabled()
        turned = turning.mul_(rotation) if is_copy else turning * rotation
        return torch.view_as_real(turned).flatten(2).to(x.dtype)
    pairs = rearrange(x, "b l (n d two) -> b l n d two", n=num_heads, two=2).float()
    even, odd = pairs.unbind(-1)  # [B, L, N, head_dim / 2]
    cos, sin = table.cos[:, :, None], table.sin[:, :, None]
    turned_pairs = torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1)
    return rearrange(turned_pairs, "b l n d two -> b l (n d two)").to(x.dtype)
