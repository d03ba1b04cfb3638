"""The last layer against its formula."""

from __future__ import annotations

import torch
from torch.nn import functional

from loom_core.models.head import Head
from loom_core.models.operations import LayerFactory, TorchOperations


def test_head_equals_its_formula():
    generator = torch.Generator().manual_seed(0)
    head = Head(8, 12, eps=1e-6, layers=LayerFactory(TorchOperations)).requires_grad_(False)
    head.modulation.copy_(torch.randn(1, 2, 8, generator=generator))
    tokens, time = torch.randn(2, 5, 8, generator=generator), torch.randn(2, 8, generator=generator)
    shift, scale = head.modulation[:, 0] + time, head.modulation[:, 1] + time
    modulated = functional.layer_norm(tokens, (8,), eps=1e-6) * (1 + scale[:, None]) + shift[:, None]
    torch.testing.assert_close(head(tokens, time), modulated @ head.head.weight.T + head.head.bias)


def test_head_keeps_the_dtype_of_its_tokens():
    layers = LayerFactory(TorchOperations, dtype=torch.bfloat16)
    head = Head(8, 12, eps=1e-6, layers=layers).requires_grad_(False)
    torch.nn.init.zeros_(head.modulation)
    assert head(torch.zeros(1, 2, 8, dtype=torch.bfloat16), torch.zeros(1, 8)).dtype == torch.bfloat16
