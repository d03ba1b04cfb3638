"""Block-diagonal attention over many short segments on a CPU, as one step of autograd.

Torch's own kernel for a CPU is slow backward in bfloat16 and is called once a segment. Here segments of equal query
length are one batched product, keys padded and masked to the longest among them; probabilities, small for short
segments, are kept for the backward pass. As in that kernel, products that are rounded anyway are in the dtype of the
inputs; scores and what softmax's derivative takes differences of are float32.

Legend: N segments of a group, H heads, Q query tokens of each, S key tokens of the longest, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, cast

import torch
from einops import rearrange
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.utils.rnn import pad_sequence

MOST_SCORES = 1 << 18
"""Scores of one segment and head up to which keeping them is cheap."""


@dataclass(frozen=True)
class Group:
    """Neighbouring segments of equal query length.

    Args:
        queries: Query tokens of each segment.
        keys: Key tokens of each segment in turn.
    """

    queries: int
    keys: tuple[int, ...]

    @property
    def is_even(self) -> bool:
        """Whether nothing has to be padded."""
        return min(self.keys) == max(self.keys)

    def pad(self, tokens: Tensor) -> Tensor:
        """Key tokens [sum of keys, D] as [N, S, D], zero where there is none."""
        if self.is_even:
            return rearrange(tokens, "(n s) d -> n s d", n=len(self.keys))
        return pad_sequence(list(tokens.split(self.keys)), batch_first=True)

    def unpad(self, tokens: Tensor) -> Tensor:
        """The inverse of `pad`."""
        if self.is_even:
            return tokens.flatten(0, 1)
        return torch.cat([part[:length] for part, length in zip(tokens, self.keys, strict=True)])

    def hide_padding(self, scores: Tensor) -> Tensor:
        """Scores [N * H, Q, S] with those of padding at minus infinity, in place."""
        if not self.is_even:
            lengths = torch.tensor(self.keys)[:, None, None, None]
            hidden = torch.arange(scores.shape[-1]) >= lengths  # [N, 1, 1, S]
            rearrange(scores, "(n h) q s -> n h q s", n=len(self.keys)).masked_fill_(hidden, -torch.inf)
        return scores


def groups_of(query_lengths: Sequence[int], key_lengths: Sequence[int]) -> tuple[Group, ...]:
    """Neighbours of equal query length, together."""
    pairs = zip(query_lengths, key_lengths, strict=True)
    return tuple(Group(length, tuple(keys for _, keys in run)) for length, run in groupby(pairs, lambda pair: pair[0]))


def is_short(groups: Sequence[Group]) -> bool:
    """Whether `short_attention` suits segments of these lengths."""
    return all(group.queries * max(group.keys) <= MOST_SCORES for group in groups)


def _heads(tokens: Tensor, num_heads: int) -> Tensor:
    return rearrange(tokens, "n l (h d) -> (n h) l d", h=num_heads)


def _tokens(heads: Tensor, num_heads: int) -> Tensor:
    return rearrange(heads, "(n h) l d -> n l (h d)", h=num_heads)


def _split(tensors: Sequence[Tensor], groups: Sequence[Group], *, of_keys: bool) -> list[tuple[Tensor, ...]]:
    """Each tensor's part of every group: query tokens [N, Q, D] or padded key tokens [N, S, D]."""
    if of_keys:
        counts = [sum(group.keys) for group in groups]
        parts = [[group.pad(part) for group, part in zip(groups, x.split(counts), strict=True)] for x in tensors]
    else:
        counts = [group.queries * len(group.keys) for group in groups]
        parts = [
            [part.unflatten(0, (-1, group.queries)) for group, part in zip(groups, x.split(counts), strict=True)]
            for x in tensors
        ]
    return list(zip(*parts, strict=True))


class _ShortAttention(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917 - autograd takes no keywords
        ctx: Any, queries: Tensor, keys: Tensor, values: Tensor, groups: tuple[Group, ...], num_heads: int
    ) -> Tensor:
        scale = (queries.shape[-1] // num_heads) ** -0.5
        mixed, kept = [], []
        parts = zip(
            groups,
            _split([queries.float() * scale], groups, of_keys=False),
            _split([keys.float(), values], groups, of_keys=True),
            strict=True,
        )
        for group, (q,), (k, v) in parts:
            scores = torch.bmm(_heads(q, num_heads), _heads(k, num_heads).mT)  # [N * H, Q, S]
            probabilities = group.hide_padding(scores).softmax(-1).to(values.dtype)
            kept.append(probabilities)
            mixed.append(_tokens(torch.bmm(probabilities, _heads(v, num_heads)), num_heads).flatten(0, 1))
        ctx.groups, ctx.num_heads = groups, num_heads
        ctx.save_for_backward(queries, keys, values, *kept)
        return torch.cat(mixed)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        queries, keys, values, *kept = ctx.saved_tensors
        groups, num_heads = ctx.groups, ctx.num_heads
        scale = (queries.shape[-1] // num_heads) ** -0.5
        of_queries, of_keys, of_values = [], [], []
        parts = zip(
            groups,
            kept,
            _split([gradient, queries], groups, of_keys=False),
            _split([keys, values], groups, of_keys=True),
            strict=True,
        )
        for group, probabilities, of_query, of_key in parts:
            g, q, k, v = (_heads(x, num_heads) for x in (*of_query, *of_key))
            of_probabilities = torch.bmm(g.float(), v.float().mT)
            of_scores = torch._softmax_backward_data(of_probabilities, probabilities.float(), -1, torch.float32)
            of_scores = of_scores.mul_(scale).to(queries.dtype)
            of_queries.append(_tokens(torch.bmm(of_scores, k), num_heads).flatten(0, 1))
            of_keys.append(group.unpad(_tokens(torch.bmm(of_scores.mT, q), num_heads)))
            of_values.append(group.unpad(_tokens(torch.bmm(probabilities.mT, g), num_heads)))
        return torch.cat(of_queries), torch.cat(of_keys), torch.cat(of_values), None, None


def short_attention(
    queries: Tensor, keys: Tensor, values: Tensor, groups: tuple[Group, ...], *, num_heads: int
) -> Tensor:
    """Attention of each segment's queries to its own keys.

    Args:
        queries: [sum of query lengths, D].
        keys: [sum of key lengths, D].
        values: As the keys, all three in one dtype.
        groups: From `groups_of`.
        num_heads: Heads that D splits into.

    Returns:
        [sum of query lengths, D].
    """
    with torch.autocast(queries.device.type, enabled=False):
        return cast("Tensor", _ShortAttention.apply(queries, keys, values, groups, num_heads))  # type: ignore[no-untyped-call]
