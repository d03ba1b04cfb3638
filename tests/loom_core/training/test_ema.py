"""Averaged weights: the closed form, by name, swapped in and out exactly."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from loom_core.errors import WeightsError
from loom_core.training import ema as subject
from loom_core.training.ema import Ema, ema_decay, measured_weights


@pytest.mark.parametrize(
    ("updates", "limit", "decay"),
    [(0, 0.9999, 0.0), (1, 0.9999, 2 / 11), (90, 0.9999, 0.91), (10**6, 0.9999, 0.9999), (90, 0.5, 0.5)],
)
def test_decay_rises_to_its_limit(updates, limit, decay):
    assert ema_decay(updates, limit) == pytest.approx(decay)


def test_the_average_has_its_closed_form():
    """After n updates: the sum of all values, each times (1 - its decay) and all later decays."""
    values = torch.randn(30, 5, generator=torch.Generator().manual_seed(0))
    ema = Ema({"a": torch.zeros(5)}, decay=0.8)
    for value in values:
        ema.update({"a": value})
    decays = [0.0] + [min((1 + n) / (10 + n), 0.8) for n in range(1, 30)]
    expected = torch.zeros(5, dtype=torch.float64)
    for index, value in enumerate(values):
        later = torch.tensor(decays[index + 1 :], dtype=torch.float64).prod()
        expected += value.double() * (1 - decays[index]) * later
    torch.testing.assert_close(ema.weights["a"].double(), expected, rtol=1e-5, atol=1e-6)


def test_fault_10_weights_go_by_name_not_by_order():
    """Equal shapes in another order would be mixed up without a word if they went by position."""
    first = {name: torch.full((3,), value) for name, value in (("a", 1.0), ("b", 2.0), ("c", 3.0))}
    ema = Ema(first, decay=0.5)
    ema.update({name: first[name] for name in ("c", "a", "b")})
    loaded = Ema(dict(reversed(first.items())), decay=0.5)
    loaded.load({name: ema.weights[name] for name in ("b", "c", "a")}, updates=1)
    for name, value in first.items():
        assert torch.equal(ema.weights[name], value)
        assert torch.equal(loaded.weights[name], value)


def test_it_is_float32_and_apart_from_the_weights():
    weight = torch.ones(2, dtype=torch.bfloat16)
    ema = Ema({"a": weight}, decay=0.9)
    weight.fill_(7)
    assert ema.weights["a"].dtype == torch.float32
    assert ema.weights["a"].tolist() == [1, 1]


@pytest.mark.parametrize("weights", [{}, {"a": torch.ones(3)}, {"a": torch.ones(2), "b": torch.ones(2)}])
def test_other_weights_are_refused(weights):
    ema = Ema({"a": torch.ones(2)}, decay=0.9)
    with pytest.raises(WeightsError, match="averaged weights of another model"):
        ema.update(weights)
    with pytest.raises(WeightsError, match="averaged weights of another model"):
        ema.load(weights, updates=1)


def test_swapping_in_and_back_is_exact_even_after_an_error():
    model = nn.Linear(3, 2).bfloat16()
    own = {name: weight.clone() for name, weight in model.state_dict().items()}
    ema = Ema({name: torch.full(weight.shape, 1.5) for name, weight in model.named_parameters()}, decay=0.9)
    with pytest.raises(ZeroDivisionError), ema.swapped_into(model):
        assert model.weight.dtype == torch.bfloat16
        assert bool((model.weight == 1.5).all())
        model.weight.data.fill_(0)
        raise ZeroDivisionError
    assert all(torch.equal(weight, own[name]) for name, weight in model.state_dict().items())
    assert bool((ema.weights["weight"] == 1.5).all())


def test_an_interrupt_while_the_own_weights_come_back_leaves_no_mixture(monkeypatch):
    """As torch's word that a decoding process is gone, which it raises in a signal's handler."""
    model = nn.Linear(3, 2)
    own = {name: weight.clone() for name, weight in model.state_dict().items()}
    ema = Ema({name: torch.full(weight.shape, 1.5) for name, weight in model.named_parameters()}, decay=0.9)
    fill, calls = subject._fill, []

    def interrupted(parameters, weights):
        calls.append(1)
        if len(calls) == 2:
            fill(dict([*parameters.items()][:1]), weights)
            raise RuntimeError("DataLoader worker is gone")
        fill(parameters, weights)

    monkeypatch.setattr(subject, "_fill", interrupted)
    with pytest.raises(RuntimeError, match="is gone"), ema.swapped_into(model):
        assert bool((model.bias == 1.5).all())
    assert all(torch.equal(weight, own[name]) for name, weight in model.state_dict().items())


@pytest.mark.parametrize("has_ema", [True, False])
@pytest.mark.parametrize("was_training", [True, False])
def test_a_model_is_measured_without_gradients_and_comes_back_whatever_happens(has_ema, was_training):
    model = nn.Linear(2, 2).train(was_training)
    own = model.weight.detach().clone()
    ema = Ema({name: torch.full(weight.shape, 3.0) for name, weight in model.named_parameters()}, decay=0.9)
    with pytest.raises(ZeroDivisionError), measured_weights(model, ema if has_ema else None):
        assert not model.training
        assert not model(torch.ones(2)).requires_grad
        assert torch.equal(model.weight, torch.full((2, 2), 3.0) if has_ema else own)
        raise ZeroDivisionError
    assert torch.equal(model.weight, own)
    assert model.training is was_training
    assert model(torch.ones(2)).requires_grad
