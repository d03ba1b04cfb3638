"""AdamW by name, with float32 copies of narrower weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from loom_core.config.training import OptimiserSettings
from loom_core.errors import WeightsError
from loom_core.training import optimiser as subject
from loom_core.training.optimiser import Optimiser

SETTINGS = OptimiserSettings(lr=1e-2, weight_decay=0.1, clip=1e9)


def small_model(dtype=torch.float32) -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    generator = torch.Generator().manual_seed(0)
    for weight in model.parameters():
        weight.data = torch.randn(weight.shape, generator=generator)
    return model.to(dtype)


def backward(model, step):
    inputs = torch.randn(5, 4, generator=torch.Generator().manual_seed(step))
    model(inputs.to(next(model.parameters()).dtype)).square().sum().backward()


def test_a_float32_model_is_trained_as_by_torchs_own_adamw():
    ours, theirs = small_model(), small_model()
    optimiser = Optimiser(ours, SETTINGS)
    adamw = torch.optim.AdamW(theirs.parameters(), lr=1e-2, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    for step in range(5):
        backward(ours, step), backward(theirs, step)
        optimiser.step(lr=1e-2)
        adamw.step()
        adamw.zero_grad()
    assert all(torch.equal(*pair) for pair in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_small_updates_of_bfloat16_weights_are_not_lost():
    """200 steps of 1e-5 from 1.0, where bfloat16 has steps of 4e-3."""
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(1.0)
    model.bfloat16()
    optimiser = Optimiser(model, OptimiserSettings(weight_decay=0.0, clip=1e9))
    for _ in range(200):
        model.weight.sum().backward()
        optimiser.step(lr=1e-5)
    assert optimiser.weights["weight"].item() == pytest.approx(0.998, abs=1e-5)
    assert model.weight.dtype == torch.bfloat16
    assert model.weight.item() == torch.tensor(0.998).bfloat16().item()


def test_gradients_of_several_packs_are_summed_in_float32():
    model = nn.Linear(1, 1, bias=False).bfloat16()
    optimiser = Optimiser(model, OptimiserSettings(clip=1e9))
    for value in (256.0, 1.0, 1.0):  # in bfloat16 256 + 1 is 256
        (model.weight * value).sum().backward()
        assert model.weight.grad is None
    assert optimiser.clip_gradients() == 258.0


def test_clipping_is_by_the_norm_over_all_weights():
    model = small_model()
    optimiser = Optimiser(model, OptimiserSettings(clip=0.5))
    backward(model, 0)
    norm = torch.cat([weight.grad.flatten() for weight in model.parameters()]).norm()
    assert optimiser.clip_gradients() == pytest.approx(norm.item())
    clipped = torch.cat([weight.grad.flatten() for weight in model.parameters()]).norm()
    assert clipped.item() == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_goes_on_from_its_state_as_if_nothing_had_been(dtype):
    model = small_model(dtype)
    optimiser = Optimiser(model, SETTINGS)

    def steps(model, optimiser, numbers):
        for number in numbers:
            backward(model, number)
            optimiser.step(lr=1e-2)

    steps(model, optimiser, range(3))
    other = small_model(dtype)
    other.load_state_dict(model.state_dict())
    resumed = Optimiser(other, SETTINGS)
    resumed.load_state({name: tensor.clone() for name, tensor in reversed(optimiser.state().items())})
    steps(model, optimiser, range(3, 6)), steps(other, resumed, range(3, 6))
    assert all(torch.equal(*pair) for pair in zip(model.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(weight, resumed.weights[name]) for name, weight in optimiser.weights.items())


def test_frozen_weights_are_left_alone():
    model = small_model()
    model[0].requires_grad_(False)
    assert set(Optimiser(model, SETTINGS).weights) == {"1.weight", "1.bias"}


@pytest.mark.parametrize(
    "spoil", [lambda state: state.pop("master.0.bias"), lambda state: state.update(x=torch.ones(1))]
)
def test_the_state_of_another_model_is_refused(spoil):
    model = small_model(torch.bfloat16)
    state = Optimiser(model, SETTINGS).state()
    spoil(state)
    with pytest.raises(WeightsError, match="another optimiser"):
        Optimiser(model, SETTINGS).load_state(state)


def test_there_is_never_a_second_set_of_gradients():
    """Each is taken while the backward pass still goes on, before the gradient of the layer in front is made."""
    model = small_model(torch.bfloat16)
    Optimiser(model, SETTINGS)
    seen = []
    model[0].weight.register_hook(lambda _: seen.append([weight.grad is None for weight in model[1].parameters()]))
    backward(model, 0)
    assert seen == [[True, True]]
    assert all(weight.grad is None for weight in model.parameters())


def test_a_float32_model_with_copies_elsewhere_is_trained_alike(monkeypatch):
    """As one on a GPU whose optimiser is in the CPU's memory: the copies say what the weights say and are not saved."""
    plain, model = small_model(), small_model()
    alone = Optimiser(plain, SETTINGS)
    monkeypatch.setattr(subject, "_master", lambda weight, _place: nn.Parameter(weight.detach().clone()))
    optimiser = Optimiser(model, SETTINGS)

    def step(number, *trained):
        for module, its_optimiser in trained:
            backward(module, number)
            assert its_optimiser.clip_gradients() > 0
            its_optimiser.step(lr=1e-2)

    for number in range(3):
        step(number, (plain, alone), (model, optimiser))
    assert all(torch.equal(*pair) for pair in zip(plain.parameters(), model.parameters(), strict=True))
    assert optimiser.state().keys() == alone.state().keys(), "a run may go on with the other place"
    resumed = Optimiser(other := small_model(), SETTINGS)
    other.load_state_dict(plain.state_dict())
    resumed.load_state({name: tensor.clone() for name, tensor in alone.state().items()})
    step(3, (plain, alone), (model, optimiser), (other, resumed))
    for ours, theirs, third in zip(plain.parameters(), model.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)
        assert torch.equal(ours, third)


@pytest.mark.parametrize("place", ["model", "cpu"])
def test_on_a_cpu_a_float32_weight_has_no_copy(place):
    model = small_model()
    weights = Optimiser(model, replace(SETTINGS, device=place)).weights
    assert all(weights[name].data_ptr() == weight.data_ptr() for name, weight in model.named_parameters())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("places", [("model", "cpu"), ("cpu", "model"), ("cpu", "cpu")])
def test_on_a_gpu_the_place_changes_nothing_and_may_change_between_runs(dtype, places):
    models = [small_model(dtype).cuda() for _ in places]
    optimisers = [
        Optimiser(model, replace(SETTINGS, device=place)) for model, place in zip(models, places, strict=True)
    ]

    def step(number):
        for model, optimiser in zip(models, optimisers, strict=True):
            inputs = torch.randn(5, 4, generator=torch.Generator().manual_seed(number)).cuda()
            model(inputs.to(dtype)).square().sum().backward()
            optimiser.step(lr=1e-2)

    def check():
        for ours, theirs in zip(*(optimiser.weights.values() for optimiser in optimisers), strict=True):
            torch.testing.assert_close(ours.cpu(), theirs.cpu(), rtol=1e-5, atol=1e-6)

    for number in range(3):
        step(number)
    check()
    assert {weight.device.type for weight in optimisers[0].weights.values()} == {
        "cpu" if places[0] == "cpu" else "cuda"
    }
    state = {name: tensor.cpu().clone() for name, tensor in optimisers[0].state().items()}
    models[1].load_state_dict(models[0].state_dict())
    optimisers[1].load_state(state)
    step(3)
    check()
