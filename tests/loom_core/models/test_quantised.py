"""A layer that widens its matrix at each use computes as one with the widened matrix does."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from loom_core.errors import MissingExtraError
from loom_core.models.quantised import QuantisedLinear, import_gguf, widen


@pytest.fixture
def layer():
    """4 numbers in, 2 out; int8 with a scale a row."""
    made = QuantisedLinear(
        "int8_tensorwise", 4, 2, stored=((2, 4), torch.int8), num_scales=2, bias=nn.Parameter(torch.tensor([1.0, 2.0]))
    )
    numbers = torch.tensor([[1, -2, 3, 127], [4, 5, -6, -127]], dtype=torch.int8)
    state = {"weight": numbers, "weight_scale": torch.tensor([[0.5], [0.25]]), "bias": torch.tensor([1.0, 2.0])}
    made.load_state_dict(state, assign=True)
    return made


def test_the_layer_multiplies_by_numbers_times_scales(layer):
    x = torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    assert layer(x).tolist() == [[1 + 0.5 * 2, 2 + 0.25 * 3]]


def test_the_matrix_stays_in_few_bits(layer):
    layer(torch.ones(3, 4))
    assert layer.weight.dtype is torch.int8
    assert layer.weight.nbytes == 8
    assert "4, 2, int8_tensorwise" in str(layer)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_it_computes_in_the_dtype_of_what_comes_in(layer, dtype):
    layer.bias.data = layer.bias.data.to(dtype)
    assert layer(torch.ones(1, 4, dtype=dtype)).dtype is dtype


@pytest.mark.parametrize("form", ["float8_e4m3fn", "float8_e5m2"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_scale_is_not_rounded_before_it_is_used(form, dtype):
    """In bfloat16 it would be off by up to 0.4 %, the same way for the whole matrix."""
    stored = torch.linspace(-3, 3, 24).reshape(4, 6).to(getattr(torch, form))
    scale = torch.tensor([[1.0039]])
    found = widen(stored, form, shape=(4, 6), dtype=dtype, scale=scale)
    assert torch.equal(found, (stored.float() * scale).to(dtype))


def test_widening_leaves_what_is_stored(layer):
    stored, scale = torch.ones(2, 3), torch.tensor([[2.0]])
    narrow = stored.to(torch.float8_e4m3fn)
    widen(narrow, "float8_e4m3fn", shape=(2, 3), dtype=torch.float32, scale=scale)
    assert torch.equal(narrow.float(), stored)


def test_gguf_is_asked_for_only_when_it_is_needed(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(MissingExtraError, match="pip install gguf"):
        import_gguf()
    wide = widen(torch.zeros(1, 34, dtype=torch.uint8), "Q8_0", shape=(1, 32), dtype=torch.float32, scale=None)
    assert wide.tolist() == [[0.0] * 32]


@pytest.mark.parametrize("name", ["Q8_0", "Q4_0", "Q5_1", "Q4_1"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_gguf_types_are_what_their_makers_say(name, dtype):
    gguf = pytest.importorskip("gguf")
    form = gguf.GGMLQuantizationType[name]
    matrix = torch.randn(6, 96, generator=torch.Generator().manual_seed(0)).numpy()
    packed = gguf.quants.quantize(matrix, form)
    found = widen(torch.from_numpy(packed), name, shape=(6, 96), dtype=dtype, scale=None)
    wanted = torch.from_numpy(gguf.quants.dequantize(packed, form)).to(dtype)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)


def test_a_gguf_layer_keeps_bytes():
    gguf = pytest.importorskip("gguf")
    matrix = torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
    packed = torch.from_numpy(gguf.quants.quantize(matrix.numpy(), gguf.GGMLQuantizationType.Q4_0))
    layer = QuantisedLinear("Q4_0", 64, 3, stored=(tuple(packed.shape), torch.uint8), num_scales=0, bias=None)
    layer.load_state_dict({"weight": packed}, assign=True)
    x = torch.eye(64)
    assert layer.weight.nbytes == 3 * 2 * 18
    exact = functional.linear(x, matrix)
    assert float((layer(x) - exact).norm() / exact.norm()) < 0.12
