"""A change of low rank and a whole change: nothing at first, then what they say, and nothing when switched off."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrize import register_parametrization

from loom_core.lora.layers import LoraLinear, WholeChange


@pytest.fixture
def layer():
    generator = torch.Generator().manual_seed(0)
    layer = nn.Linear(6, 4)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return layer.requires_grad_(False)


def lora_of(layer, **changes):
    generator = torch.Generator().manual_seed(1)
    return LoraLinear(layer, **{"rank": 2, "scale": 0.5, "dropout": 0.0, "generator": generator, **changes})


def test_it_begins_without_effect_and_then_adds_its_product(layer):
    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(2))
    lora = lora_of(layer)
    assert torch.equal(lora(x), layer(x))
    assert lora.lora_A.weight.abs().max() <= 6**-0.5 and lora.lora_A.weight.all()
    with torch.no_grad():
        lora.lora_B.weight.copy_(torch.randn(4, 2, generator=torch.Generator().manual_seed(3)))
    weight = layer.weight + 0.5 * lora.lora_B.weight @ lora.lora_A.weight
    torch.testing.assert_close(lora(x), nn.functional.linear(x, weight, layer.bias))
    lora.is_on = False
    assert torch.equal(lora(x), layer(x))


def test_starting_values_follow_from_the_generator_alone(layer):
    torch.manual_seed(0)
    first = lora_of(layer).lora_A.weight
    expected = torch.rand(2)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(2), expected), "torch's own generator is not drawn from"
    assert torch.equal(first, lora_of(layer).lora_A.weight)


def test_it_has_the_dtype_of_the_layer_and_may_lie_nowhere(layer):
    assert lora_of(layer.bfloat16()).lora_A.weight.dtype == torch.bfloat16
    assert lora_of(nn.Linear(6, 4, device="meta")).lora_B.weight.is_meta


def test_only_the_change_gets_gradients(layer):
    lora = lora_of(layer)
    with torch.no_grad():
        lora.lora_B.weight.fill_(1)
    lora(torch.ones(1, 6)).sum().backward()
    assert lora.lora_A.weight.grad.any() and lora.lora_B.weight.grad.any()
    assert layer.weight.grad is None


def test_dropout_touches_the_change_in_training_alone(layer):
    x = torch.ones(400, 6)
    lora, without = lora_of(layer, dropout=0.5), lora_of(layer)
    with torch.no_grad():
        lora.lora_B.weight.fill_(1)
        without.lora_B.weight.fill_(1)
        torch.manual_seed(0)
        trained = lora.train()(x)
        assert torch.equal(lora.eval()(x), without(x))
    assert trained.unique(dim=0).shape[0] > 10
    torch.testing.assert_close(trained.mean(0), without(x)[0], atol=0.1, rtol=0.1)


def test_a_whole_change_is_added_to_what_stays(layer):
    before = layer.weight.clone()
    change = WholeChange(layer.weight)
    register_parametrization(layer, "weight", change)
    assert torch.equal(layer.weight, before)
    with torch.no_grad():
        change.diff.fill_(2)
    assert torch.equal(layer.weight, before + 2)
    layer(torch.ones(1, 6)).sum().backward()
    assert change.diff.grad.any()
    assert torch.equal(layer.parametrizations.weight.original, before)
    change.is_on = False
    assert torch.equal(layer.weight, before)
