"""Several samples as one sequence without padding: where each one's tokens lie, and attention that stays inside it.

A pack is [1, sum of lengths, D]. Linear layers and norms see one long sequence; modulation takes one row for each run
of neighbouring tokens; attention is block-diagonal: a sample's tokens attend to its own tokens, or to its own context.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, groupby
from typing import cast

import torch
from einops import rearrange
from torch import Tensor

from .operations import Attention, TorchOperations

VARLEN_DTYPES = (torch.float16, torch.bfloat16)


@cache
def varlen_kernel() -> Callable[..., Tensor] | None:
    """Torch's attention over sequences of variable length; imported for whoever needs it, since that takes long."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:  # torch before 2.10
        return None
    return cast("Callable[..., Tensor]", varlen_attn)


@dataclass(frozen=True)
class Segments:
    """Runs of neighbouring tokens, and the row of a table that each run takes.

    Args:
        lengths: Tokens of each run, none of them 0.
        rows: Row of each run.
    """

    lengths: tuple[int, ...]
    rows: tuple[int, ...]


@dataclass(frozen=True)
class SegmentRows:
    """One value of every token of a pack, as rows that segments choose from.

    Args:
        table: float32 [K, D].
        segments: Which tokens take which row.
    """

    table: Tensor
    segments: Segments

    def of_segments(self) -> Iterator[Tensor]:
        """The row [D] of each segment in turn."""
        rows = self.table.unbind(0)
        return (rows[row] for row in self.segments.rows)


def segment_rows(table: Tensor, time_rows: Tensor, segments: Segments) -> list[SegmentRows]:
    """Rows of a learned table: row n with the timestep of sample n added, the row after the last sample's without.

    Args:
        table: float32 [1, K, D], learned.
        time_rows: float32 [N, K, D], from each sample's timestep.
        segments: Rows 0 to N - 1 are those of target tokens, row N that of all reference tokens.

    Returns:
        K values.
    """
    rows = torch.cat((table + time_rows, table))  # [N + 1, K, D]
    return [SegmentRows(value, segments) for value in rows.unbind(1)]


def varlen_arguments(
    query_lengths: Sequence[int], key_lengths: Sequence[int], device: torch.device
) -> tuple[Tensor, Tensor, int, int]:
    """What torch's kernel wants beside queries, keys and values: where segments start, and the longest of each."""
    starts = [
        torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device)
        for lengths in (query_lengths, key_lengths)
    ]
    return starts[0], starts[1], max(query_lengths), max(key_lengths)


class SegmentAttention:
    """Block-diagonal attention over a pack: query segment n sees key segment n, all of it and nothing else.

    On CUDA, in half precision, torch's kernel for sequences of variable length takes the whole pack; else neighbouring
    segments of equal lengths are one batch, so a pack should be sorted by length.

    Args:
        query_lengths: Tokens of each segment of the queries.
        key_lengths: Tokens of each segment of the keys.
        attend: Attention within a batch.
        device: Of the pack.
    """

    def __init__(
        self, query_lengths: Sequence[int], key_lengths: Sequence[int], *, attend: Attention, device: torch.device
    ) -> None:
        self._attend = attend
        pairs = list(zip(query_lengths, key_lengths, strict=True))
        self._runs = [(sum(1 for _ in run), *pair) for pair, run in groupby(pairs)]
        """(number of segments, query tokens of each, key tokens of each)"""
        is_torch = attend is TorchOperations.attention  # another's attention is not passed over
        has_kernel = device.type == "cuda" and is_torch and varlen_kernel() is not None
        self._varlen = varlen_arguments(query_lengths, key_lengths, device) if has_kernel else None

    def __call__(
        self, queries: Tensor, keys: Tensor, values: Tensor, *, num_heads: int, mask: Tensor | None = None
    ) -> Tensor:
        """See `Attention`; B is 1, and there is no mask since nothing is padded."""
        assert mask is None and len(queries) == 1
        has_one_dtype = queries.dtype == keys.dtype == values.dtype
        if self._varlen is not None and has_one_dtype and queries.dtype in VARLEN_DTYPES:
            heads = [rearrange(x, "1 l (n d) -> l n d", n=num_heads) for x in (queries, keys, values)]
            kernel = cast("Callable[..., Tensor]", varlen_kernel())
            return rearrange(kernel(*heads, *self._varlen), "l n d -> 1 l (n d)")
        # on a CPU torch's kernel is several times slower backward in bfloat16
        dtype = torch.promote_types(queries.dtype, torch.float32) if queries.device.type == "cpu" else queries.dtype
        wide = (x[0].to(dtype) for x in (queries, keys, values))
        return self._looped(*wide, num_heads=num_heads)[None].to(queries.dtype)

    def _looped(self, queries: Tensor, keys: Tensor, values: Tensor, *, num_heads: int) -> Tensor:
        """Run after run: [sum of query lengths, D]."""
        query_runs = queries.split([count * length for count, length, _ in self._runs])
        key_runs, value_runs = (x.split([count * length for count, _, length in self._runs]) for x in (keys, values))
        mixed = []
        with torch.autocast(queries.device.type, enabled=False):  # of the dtype that it was given
            for (count, *_), *run in zip(self._runs, query_runs, key_runs, value_runs, strict=True):
                batch = (rearrange(x, "(b l) d -> b l d", b=count) for x in run)
                mixed.append(self._attend(*batch, num_heads=num_heads).flatten(0, 1))
        return torch.cat(mixed)
