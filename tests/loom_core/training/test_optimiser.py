"""AdamW and Muon by name, with float32 copies of narrower weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from loom_core.config.training import LoraSettings, OptimiserSettings
from loom_core.errors import ConfigError, WeightsError
from loom_core.lora.adapters import Adapters
from loom_core.models.dit import LoomDiT
from loom_core.training import optimiser as subject
from loom_core.training.optimiser import Optimiser, check_possible, is_matrix, moments_like

SETTINGS = OptimiserSettings(lr=1e-2, weight_decay=0.1, clip=1e9)
NEEDS_MUON = pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch has Muon from 2.9 on")
KINDS = pytest.mark.parametrize("kind", ["adamw", pytest.param("muon", marks=NEEDS_MUON)])


def small_model(dtype=torch.float32) -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    generator = torch.Generator().manual_seed(0)
    for weight in model.parameters():
        weight.data = torch.randn(weight.shape, generator=generator)
    return model.to(dtype)


def backward(model, step):
    inputs = torch.randn(5, 4, generator=torch.Generator().manual_seed(step))
    model(inputs.to(next(model.parameters()).dtype)).square().sum().backward()


class Mixed(nn.Module):
    """A part of each sort that a DiT has."""

    def __init__(self):
        super().__init__()
        self.patch_embedding = nn.Conv3d(2, 3, (1, 2, 2))
        self.time_embedding = nn.Linear(3, 3)
        self.wide, self.tall = nn.Linear(3, 7), nn.Linear(7, 3)
        self.modulation = nn.Parameter(torch.empty(1, 2, 3))
        generator = torch.Generator().manual_seed(0)
        for weight in self.parameters():
            weight.data = torch.randn(weight.shape, generator=generator)

    def forward(self, x):
        """[n, 4] to [n, 3]."""
        x = self.patch_embedding(x.new_ones(1, 2, 1, 2, 2) * x.view(-1, 1, 1, 2, 2)).flatten(1)
        return self.tall(self.wide(x + self.time_embedding(x)).tanh()) * self.modulation[:, 0] + self.modulation[:, 1]


MATRICES = {"patch_embedding.weight", "wide.weight", "tall.weight"}


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


@NEEDS_MUON
def test_matrices_are_trained_as_by_torchs_own_muon_and_all_else_by_adamw():
    ours, theirs = Mixed(), Mixed()
    optimiser = Optimiser(ours, replace(SETTINGS, kind="muon"))
    weights = dict(theirs.named_parameters())
    matrices = {name: nn.Parameter(weights[name].detach().flatten(1).clone()) for name in MATRICES}
    muon = torch.optim.Muon(
        matrices.values(), lr=1e-2, weight_decay=0.1, momentum=0.95, nesterov=True, adjust_lr_fn="match_rms_adamw"
    )
    others = [weight for name, weight in weights.items() if name not in MATRICES]
    adamw = torch.optim.AdamW(others, lr=1e-2, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    for step in range(4):
        backward(ours, step), backward(theirs, step)
        lr = 1e-2 / (1 + step)
        for inner in (muon, adamw):
            inner.param_groups[0]["lr"] = lr
        for name, matrix in matrices.items():
            matrix.grad = weights[name].grad.flatten(1)
        muon.step(), adamw.step()
        for name, matrix in matrices.items():
            weights[name].data.copy_(matrix.view(weights[name].shape))
        theirs.zero_grad()
        optimiser.step(lr=lr)
    assert all(torch.equal(weight, weights[name]) for name, weight in ours.named_parameters())
    assert all(weight.grad is None for weight in ours.parameters())


@NEEDS_MUON
def test_one_rate_means_one_size_of_update_whatever_the_shape():
    for size in ((3, 40), (40, 3), (24, 24)):
        model = nn.Linear(*size, bias=False)
        optimiser = Optimiser(model, OptimiserSettings(kind="muon"))
        before = model.weight.detach().clone()
        model.weight.mul(torch.randn(model.weight.shape, generator=torch.Generator().manual_seed(0))).sum().backward()
        optimiser.step(lr=1.0)
        assert (model.weight - before).square().mean().sqrt().item() == pytest.approx(0.2, rel=0.2)


def test_the_matrices_of_a_model_are_its_layers_but_not_the_time_embedding(config):
    model = LoomDiT(config.model.dit_config(), device="meta")
    weights = dict(model.named_parameters())
    others = {name for name, weight in weights.items() if not is_matrix(name, weight)}
    layers = {f"{name}.weight" for name, part in model.named_modules() if isinstance(part, nn.Linear | nn.Conv3d)}
    assert weights.keys() - others == layers - {"time_embedding.0.weight", "time_embedding.2.weight"}
    assert {"patch_embedding.weight", "source_patch_embedding.weight", "head.head.weight"} & others == set()
    assert {"head.modulation", "blocks.0.norm3.weight", "time_embedding.0.weight"} <= others
    assert len(moments_like(weights, "adamw")) == 2 * len(weights)
    assert len(moments_like(weights, "muon")) == len(weights) + len(others)


@NEEDS_MUON
def test_a_lora_of_layers_is_nothing_but_matrices(config):
    model = LoomDiT(config.model.dit_config())
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.1)
    Adapters(model, LoraSettings(rank=2), generator=torch.Generator().manual_seed(0))
    optimiser = Optimiser(model, OptimiserSettings(kind="muon"))
    factors = optimiser.parameters
    sum(weight.square().sum() + weight.sum() for weight in factors.values()).backward()
    optimiser.step(lr=1e-2)
    assert set(optimiser.state()) == {f"momentum_buffer.{name}" for name in factors}


def test_a_torch_without_muon_is_told_what_it_lacks(monkeypatch):
    monkeypatch.delattr(torch.optim, "Muon", raising=False)
    check_possible(SETTINGS)
    with pytest.raises(ConfigError, match=r"muon with torch .*expected torch 2\.9 or newer.*update torch"):
        Optimiser(small_model(), replace(SETTINGS, kind="muon"))


@NEEDS_MUON
def test_rows_of_a_matrix_are_refused(monkeypatch):
    monkeypatch.setattr(subject, "is_sharded", lambda weight: weight.dim() == 2)
    monkeypatch.setattr(subject, "_master", lambda weight, _place: weight)
    Optimiser(small_model(), SETTINGS)
    with pytest.raises(ConfigError, match=r"only rows of a matrix.*optimiser\.kind=adamw"):
        Optimiser(small_model(), replace(SETTINGS, kind="muon"))


@KINDS
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_goes_on_from_its_state_as_if_nothing_had_been(dtype, kind):
    settings = replace(SETTINGS, kind=kind)
    model = Mixed().to(dtype)
    optimiser = Optimiser(model, settings)

    def steps(model, optimiser, numbers):
        for number in numbers:
            backward(model, number)
            optimiser.step(lr=1e-2)

    steps(model, optimiser, range(3))
    other = Mixed().to(dtype)
    other.load_state_dict(model.state_dict())
    resumed = Optimiser(other, settings)
    state = {name: tensor.clone() for name, tensor in reversed(optimiser.state().items())}
    matrices = MATRICES if kind == "muon" else set()
    assert {name for name in model.state_dict() if f"momentum_buffer.{name}" in state} == matrices
    assert {
        name for name in model.state_dict() if f"exp_avg_sq.{name}" in state
    } == model.state_dict().keys() - matrices
    assert not [name for name in matrices if state[f"momentum_buffer.{name}"].shape != model.state_dict()[name].shape]
    resumed.load_state(state)
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


@NEEDS_MUON
def test_the_state_of_the_other_kind_is_refused():
    optimisers = {kind: Optimiser(Mixed(), replace(SETTINGS, kind=kind)) for kind in ("adamw", "muon")}
    for optimiser in optimisers.values():
        sum(weight.sum() for weight in optimiser.parameters.values()).backward()
        optimiser.step(lr=1e-2)
    for ours, theirs in (("adamw", "muon"), ("muon", "adamw")):
        with pytest.raises(WeightsError, match=r"another optimiser.*kind of optimiser"):
            optimisers[ours].load_state(optimisers[theirs].state())


def test_there_is_never_a_second_set_of_gradients():
    """Each is taken while the backward pass still goes on, before the gradient of the layer in front is made."""
    model = small_model(torch.bfloat16)
    Optimiser(model, SETTINGS)
    seen = []
    model[0].weight.register_hook(lambda _: seen.append([weight.grad is None for weight in model[1].parameters()]))
    backward(model, 0)
    assert seen == [[True, True]]
    assert all(weight.grad is None for weight in model.parameters())


@KINDS
def test_a_float32_model_with_copies_elsewhere_is_trained_alike(monkeypatch, kind):
    """As one on a GPU whose optimiser is in the CPU's memory: the copies say what the weights say and are not saved."""
    settings = replace(SETTINGS, kind=kind)
    plain, model = Mixed(), Mixed()
    alone = Optimiser(plain, settings)
    monkeypatch.setattr(subject, "_master", lambda weight, _place: nn.Parameter(weight.detach().clone()))
    optimiser = Optimiser(model, settings)

    def step(number, *trained):
        for module, its_optimiser in trained:
            backward(module, number)
            assert its_optimiser.clip_gradients() > 0
            its_optimiser.step(lr=1e-2)

    for number in range(3):
        step(number, (plain, alone), (model, optimiser))
    assert all(torch.equal(*pair) for pair in zip(plain.parameters(), model.parameters(), strict=True))
    assert optimiser.state().keys() == alone.state().keys(), "a run may go on with the other place"
    resumed = Optimiser(other := Mixed(), settings)
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
@KINDS
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("places", [("model", "cpu"), ("cpu", "model"), ("cpu", "cpu")])
def test_on_a_gpu_the_place_changes_nothing_and_may_change_between_runs(dtype, places, kind):
    models = [small_model(dtype).cuda() for _ in places]
    settings = [replace(SETTINGS, kind=kind, device=place) for place in places]
    optimisers = [Optimiser(*pair) for pair in zip(models, settings, strict=True)]

    def step(number):
        for model, optimiser in zip(models, optimisers, strict=True):
            inputs = torch.randn(5, 4, generator=torch.Generator().manual_seed(number)).cuda()
            model(inputs.to(dtype)).square().sum().backward()
            optimiser.step(lr=1e-2)

    def check():
        for ours, theirs in zip(*(optimiser.weights.values() for optimiser in optimisers), strict=True):
            # Muon computes in bfloat16, whose roundings differ
            tolerance = {"rtol": 1e-5, "atol": 1e-6} if kind == "adamw" else {"rtol": 1e-2, "atol": 1e-3}
            torch.testing.assert_close(ours.cpu(), theirs.cpu(), **tolerance)

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
