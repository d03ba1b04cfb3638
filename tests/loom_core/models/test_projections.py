"""One product where weights lie together; the layers themselves never notice."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks.operator_counts import count_operators
from loom_core.models.operations import TorchOperations
from loom_core.models.projections import lay_side_by_side, project


@pytest.fixture
def layers():
    torch.manual_seed(0)
    return [TorchOperations.Linear(6, width).requires_grad_(False) for width in (6, 6, 4)]


@pytest.fixture
def x():
    return torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(1))


def products(layers, x):
    return count_operators(lambda: list(project(x, layers))).matrix_products


def assert_same(layers, x):
    with torch.no_grad():
        for part, layer in zip(project(x, layers), layers, strict=True):
            torch.testing.assert_close(part, layer(x))


def test_side_by_side_they_are_one_product(layers, x):
    names, values = [list(layer.state_dict()) for layer in layers], [layer.weight.clone() for layer in layers]
    assert products(layers, x) == 3
    lay_side_by_side(layers)
    assert products(layers, x) == 1
    assert_same(layers, x)
    assert [list(layer.state_dict()) for layer in layers] == names
    assert all(torch.equal(layer.weight, value) for layer, value in zip(layers, values, strict=True))


def test_a_weight_changed_in_place_counts(layers, x):
    """As a LoRA is merged."""
    lay_side_by_side(layers)
    before = layers[1](x)
    layers[1].weight += 0.5
    layers[2].load_state_dict(TorchOperations.Linear(6, 4).state_dict())
    assert products(layers, x) == 1
    assert_same(layers, x)
    assert not torch.allclose(layers[1](x), before)


def replaced(layers):
    layers[1].weight = nn.Parameter(torch.ones(6, 6))


def moved(layers):
    layers[2].double().float()


def hooked(layers):
    layers[0].register_forward_hook(lambda _, __, result: result + 1)


def adapted(layers):
    layers[0] = nn.Sequential(layers[0], nn.Tanh())


def parametrised(layers):
    nn.utils.parametrizations.weight_norm(layers[1])


@pytest.mark.parametrize("change", [replaced, moved, hooked, adapted, parametrised])
def test_what_is_no_longer_plain_is_called_by_itself(layers, x, change):
    lay_side_by_side(layers)
    change(layers)
    assert products(layers, x) == 3
    assert_same(layers, x)


@pytest.mark.parametrize("change", [hooked, adapted, parametrised, lambda layers: layers[0].double()])
def test_what_was_never_plain_is_left_alone(layers, change):
    change(layers)
    weights = [parameter for layer in layers for parameter in layer.parameters()]
    lay_side_by_side(layers)
    after = [parameter for layer in layers for parameter in layer.parameters()]
    assert all(one is other for one, other in zip(weights, after, strict=True))


def test_with_gradients_every_layer_is_called(layers, x):
    lay_side_by_side(layers)
    layers[0].weight.requires_grad_(True)
    sum(part.sum() for part in project(x, layers)).backward()
    torch.testing.assert_close(layers[0].weight.grad, x.sum((0, 1)).expand(6, 6))


def test_on_the_meta_device(layers, x):
    layers = [layer.to("meta") for layer in layers]
    lay_side_by_side(layers)
    assert products(layers, x.to("meta")) == 1
