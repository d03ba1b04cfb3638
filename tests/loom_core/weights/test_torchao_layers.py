"""torchao quantises the matrices of the blocks and nothing else, and the model answers nearly as before."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from loom_core.errors import ConfigError, MissingExtraError
from loom_core.models.quantised import QuantisedLinear
from loom_core.parity.cases import Case, dit_condition
from loom_core.weights.convert import convert_checkpoint
from loom_core.weights.loading import load_dit
from loom_core.weights.quantise import MATRICES, SCHEMES
from loom_core.weights.torchao_layers import CONFIGS, check_name, quantise_loaded

CPU = torch.device("cpu")


@pytest.fixture
def weights(golden_dir):
    return golden_dir / "models/tiny/gen_model.safetensors"


@pytest.fixture
def torchao():
    return pytest.importorskip("torchao", reason="the optional extra torchao")


@torch.no_grad()
def velocity(model, case):
    latents = case.tensors["latents"]
    prepared = model.prepare([dit_condition(case, model.config.num_layers)], latents)
    return model(latents, case.tensors["timestep"], prepared)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_velocity_moves_by_a_percent(torchao, weights, golden_dir, name):
    case = Case(golden_dir, "dit_forward", "t2v")
    model = load_dit(weights, dtype=torch.float32)
    quantise_loaded(model, name, device=CPU)
    recorded = case.tensors["velocity"]
    error = float((velocity(model, case) - recorded).norm() / recorded.norm())
    assert 1e-3 < error < 2e-2


@pytest.mark.parametrize("name", CONFIGS)
def test_matrices_of_the_blocks_are_numbers_of_a_byte_and_the_rest_is_as_it_was(torchao, weights, name):
    model, plain = load_dit(weights, dtype=torch.float32), load_dit(weights, dtype=torch.float32)
    quantise_loaded(model, name, device=CPU)
    before = dict(plain.named_parameters())
    chosen = 0
    for key, weight in model.named_parameters():
        if MATRICES.fullmatch(key):
            chosen += 1
            assert weight.qdata.dtype is torch.int8 and weight.qdata.shape == before[key].shape
        else:
            assert type(weight) in (nn.Parameter, torch.Tensor) and torch.equal(weight, before[key])
    assert chosen == 10 * model.config.num_layers


def test_weights_that_are_quantised_already_are_refused(weights, tmp_path):
    convert_checkpoint(weights, tmp_path / "fp8.safetensors", scheme=SCHEMES["fp8"])
    model = load_dit(tmp_path / "fp8.safetensors")
    assert any(isinstance(layer, QuantisedLinear) for layer in model.modules())
    with pytest.raises(ConfigError, match="weights that are quantised already; expected weights in bf16"):
        quantise_loaded(model, "int8-torchao", device=CPU)


def test_an_unknown_way_is_refused():
    assert check_name("int8-torchao") == "int8-torchao"
    with pytest.raises(ConfigError, match="--quantise int3; expected int8-torchao or int8-dynamic-torchao"):
        check_name("int3")


def test_without_the_package_it_is_named(weights, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torchao", None)
    with pytest.raises(MissingExtraError, match="pip install torchao"):
        quantise_loaded(load_dit(weights), "int8-torchao", device=CPU)
