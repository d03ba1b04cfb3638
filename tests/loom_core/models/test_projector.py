"""The projector against its formula."""

from __future__ import annotations

import torch
from torch.nn import functional

from loom_core.models.operations import LayerFactory, TorchOperations
from loom_core.models.projector import MLLMProjector


def test_equals_the_formula():
    generator = torch.Generator().manual_seed(0)
    projector = MLLMProjector(20, 8, layers=LayerFactory(TorchOperations))
    for parameter in projector.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    states = torch.randn(2, 5, 20, generator=generator)
    normed = states / (states.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * projector.norm.weight
    hidden = normed @ projector.linear_1.weight.mT + projector.linear_1.bias
    expected = functional.gelu(hidden, approximate="tanh") @ projector.linear_2.weight.mT + projector.linear_2.bias
    assert hidden.shape[-1] == 32
    torch.testing.assert_close(projector(states), expected)


def test_names_are_those_of_the_released_files():
    projector = MLLMProjector(20, 8, layers=LayerFactory(TorchOperations, torch.device("meta"), torch.bfloat16))
    modules = {name.rpartition(".")[0] for name in projector.state_dict()}
    assert modules == {"norm", "linear_1", "linear_2"}
    assert {parameter.dtype for parameter in projector.parameters()} == {torch.bfloat16}
