"""Injected operations: the model's layers and attention come from there, and from nowhere else."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from loom_core.models.dit import LoomDiT
from loom_core.models.operations import TorchOperations, cast_like
from loom_core.types import Condition


def test_every_layer_and_attention_is_the_injected_one(small_config):
    made, attended = [], []

    def counting(base):
        class Layer(base):
            def __init__(self, *args, **kwargs):
                made.append(self)
                super().__init__(*args, **kwargs)

        return Layer

    class Host(TorchOperations):
        Linear = counting(torch.nn.Linear)
        Conv3d = counting(torch.nn.Conv3d)
        LayerNorm = counting(torch.nn.LayerNorm)
        RMSNorm = counting(torch.nn.RMSNorm)

        @staticmethod
        def attention(queries, keys, values, *, num_heads, mask=None):
            attended.append(queries.shape)
            return TorchOperations.attention(queries, keys, values, num_heads=num_heads, mask=mask)

    model = LoomDiT(small_config, operations=Host)
    layers = (torch.nn.Linear, torch.nn.Conv3d, torch.nn.LayerNorm, torch.nn.RMSNorm)
    assert {id(part) for part in model.modules() if isinstance(part, layers)} == {id(layer) for layer in made}
    states = tuple(torch.zeros(2, small_config.mllm_dim) for _ in range(small_config.num_layers))
    with torch.no_grad():
        model(
            torch.zeros(1, 4, 1, 2, 2),
            torch.tensor([1]),
            model.prepare([Condition(states)], torch.zeros(1, 4, 1, 2, 2)),
        )
    assert len(attended) == 2 * small_config.num_layers


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_device_and_dtype_are_explicit(small_config, dtype):
    model = LoomDiT(small_config, device="meta", dtype=dtype)
    assert {(parameter.device.type, parameter.dtype) for parameter in model.parameters()} == {("meta", dtype)}


def test_no_starting_values_are_drawn_on_the_meta_device():
    calls = Counter()

    class Calls(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            calls[func.overloadpacket.__name__] += 1
            return func(*args, **(kwargs or {}))

    with Calls():
        layer = TorchOperations.Linear(4, 3)
        assert calls["uniform_"] == 2  # weight and bias
        assert layer.weight.std() > 0
        calls.clear()
        TorchOperations.Linear(4, 3, device="meta")
    assert calls["empty"]
    assert not calls["uniform_"]


def test_attention_equals_softmax_and_hides_masked_keys():
    generator = torch.Generator().manual_seed(0)
    queries, keys, values = (torch.randn(2, length, 8, generator=generator) for length in (3, 5, 5))
    mask = torch.tensor([[True, True, False, True, False], [True] * 5])
    result = TorchOperations.attention(queries, keys, values, num_heads=2, mask=mask)
    for head in range(2):
        part = slice(4 * head, 4 * head + 4)
        scores = queries[..., part] @ keys[..., part].mT / 2
        weights = scores.masked_fill(~mask[:, None], -torch.inf).softmax(-1)
        torch.testing.assert_close(result[..., part], weights @ values[..., part])


def test_cast_like_follows_the_activations():
    parameter = torch.zeros(2, dtype=torch.bfloat16)
    assert cast_like(parameter, torch.zeros(1)).dtype == torch.float32
    assert cast_like(parameter, torch.zeros(1, dtype=torch.float16), torch.float32).dtype == torch.float32


def test_a_patch_a_row_is_a_matrix_product_with_the_same_numbers():
    layer = TorchOperations.Conv3d(4, 6, kernel_size=(1, 2, 2), stride=(1, 2, 2))
    patches = torch.randn(5, 4, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(layer(patches), torch.nn.Conv3d.forward(layer, patches))
    assert layer(torch.zeros(1, 4, 2, 4, 6)).shape == (1, 6, 2, 2, 3)


def test_a_norm_keeps_the_dtype_of_what_comes_in():
    """The weight stays float32 under autocast; it must not widen everything after it."""
    norm = TorchOperations.RMSNorm(8, eps=1e-6)
    assert norm(torch.ones(1, 2, 8, dtype=torch.bfloat16)).dtype == torch.bfloat16
    meta = TorchOperations.RMSNorm(8, eps=1e-6, device="meta")
    assert meta(torch.ones(1, 2, 8, dtype=torch.bfloat16, device="meta")).dtype == torch.bfloat16
