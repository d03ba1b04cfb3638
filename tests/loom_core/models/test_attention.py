"""Attention against its formula, with the norms over the full width."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from loom_core.geometry import LatentShape
from loom_core.models.attention import CrossAttention, SelfAttention
from loom_core.models.operations import LayerFactory, TorchOperations
from loom_core.models.rope import apply_rope, rope_table

DIM, HEADS = 24, 2
ATTEND = TorchOperations.attention


def made(kind, seed=0):
    generator = torch.Generator().manual_seed(seed)
    layer = kind(DIM, HEADS, eps=1e-6, layers=LayerFactory(TorchOperations))
    for parameter in layer.parameters():
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
    return layer.requires_grad_(False)


def projected(layer, name, values):
    part = getattr(layer, name)
    return values @ part.weight.mT + part.bias


def normed(values, weight):
    return values / (values.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * weight  # over all heads at once


def mixed(layer, queries, keys, values):
    heads = [part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in (queries, keys, values)]
    weights = (heads[0] @ heads[1].mT * heads[0].shape[-1] ** -0.5).softmax(-1)
    return projected(layer, "o", (weights @ heads[2]).transpose(1, 2).flatten(2))


def test_self_attention_equals_its_formula():
    layer, tokens = made(SelfAttention), torch.randn(1, 4, DIM, generator=torch.Generator().manual_seed(1))
    rope = rope_table(LatentShape(1, 4, 4), DIM // HEADS)
    queries, keys = (
        apply_rope(normed(projected(layer, name, tokens), norm.weight), rope, num_heads=HEADS)
        for name, norm in (("q", layer.norm_q), ("k", layer.norm_k))
    )
    expected = mixed(layer, queries, keys, projected(layer, "v", tokens))
    torch.testing.assert_close(layer(tokens, rope, ATTEND), expected)


@pytest.mark.parametrize("fused", [False, True])
def test_the_first_tokens_alone_can_ask(fused):
    """They get what they get among all; nothing but keys and values is made of the others."""
    layer, tokens = made(SelfAttention), torch.randn(2, 4, DIM, generator=torch.Generator().manual_seed(3))
    rope = rope_table(LatentShape(1, 4, 4), DIM // HEADS)
    expected = layer(tokens, rope, ATTEND)[:, :3]
    if fused:
        layer.fuse()
    asked = []

    def attend(queries, keys, values, **options):
        asked.append([part.shape[1] for part in (queries, keys, values)])
        return ATTEND(queries, keys, values, **options)

    with torch.no_grad():
        torch.testing.assert_close(layer(tokens, rope, attend, num_queries=3), expected)
    assert asked == [[3, 4, 4]]


def test_cross_attention_has_no_rotary_turn():
    generator = torch.Generator().manual_seed(2)
    layer = made(CrossAttention)
    tokens, context = torch.randn(2, 3, DIM, generator=generator), torch.randn(2, 5, DIM, generator=generator)
    queries = normed(projected(layer, "q", tokens), layer.norm_q.weight)
    keys = normed(projected(layer, "k", context), layer.norm_k.weight)
    expected = mixed(layer, queries, keys, projected(layer, "v", context))
    torch.testing.assert_close(layer(tokens, layer.keys_values(context), ATTEND), expected)


def test_masked_context_does_not_count():
    layer, tokens = made(CrossAttention), torch.randn(1, 3, DIM)
    context = torch.randn(1, 5, DIM)
    padded = layer.keys_values(functional.pad(context, (0, 0, 0, 2), value=9.0))
    mask = torch.tensor([[True] * 5 + [False] * 2])
    torch.testing.assert_close(layer(tokens, padded, ATTEND, mask), layer(tokens, layer.keys_values(context), ATTEND))
