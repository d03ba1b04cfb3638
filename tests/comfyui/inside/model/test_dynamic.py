"""Weights the host pages in (its dynamic memory), as far as it goes without a GPU: made lazily, kept as they come."""

from __future__ import annotations

import json

import pytest
import torch


@pytest.fixture
def lazily(monkeypatch, load):
    """Loads a model as the host does with dynamic memory: no weight exists before the file gives it."""
    import comfy.memory_management
    import comfy.model_patcher
    import comfy.utils
    from safetensors import safe_open

    def mapped(path):
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118

    class Dynamic(comfy.model_patcher.ModelPatcher):
        """Where there is no GPU the host does without its own class."""

        def is_dynamic(self):
            return True

    def make(path, **options):
        with monkeypatch.context() as patched:
            patched.setattr(comfy.memory_management, "aimdo_enabled", True)
            patched.setattr(comfy.model_patcher, "CoreModelPatcher", Dynamic)
            patched.setattr(comfy.utils, "load_safetensors", mapped)  # the host's own needs a GPU's driver
            made = load(path, **options)
        made.__class__ = comfy.model_patcher.ModelPatcher
        return made

    return make


@pytest.fixture
def velocity(noise, velocities, conditioning, make_condition):
    condition = make_condition(source=(3, 4, 6), references=[(1, 2, 4)])
    return lambda model: velocities(model, noise, conditioning(condition))[0]


def test_no_weight_is_touched_before_it_is_there(part, config, monkeypatch):
    import comfy.memory_management
    import comfy.model_management
    import comfy.ops

    monkeypatch.setattr(comfy.memory_management, "aimdo_enabled", True)
    monkeypatch.setattr(comfy.model_management, "WINDOWS", True)  # older hosts do it there alone
    dit = part("nodes.adapter.model.diffusion_model").HostDiT(
        loom_config=config, operations=comfy.ops.manual_cast, dtype=torch.bfloat16
    )
    linears = [module for module in dit.modules() if isinstance(module, comfy.ops.manual_cast.Linear)]
    assert len(linears) == 10 * config.num_layers + 6
    assert all(linear.weight is None and linear.bias is None for linear in linears)
    assert {linear.weight_comfy_model_dtype for linear in linears} == {torch.bfloat16}


def test_the_same_numbers(model, lazily, write, state, velocity):
    paged = lazily(write(state, "other.safetensors"))
    torch.testing.assert_close(velocity(paged), velocity(model))


def test_weights_are_the_files_own_and_cast_when_used(lazily, write, state, velocity, model):
    paged = lazily(write(state, "other.safetensors"), weight_dtype="fp8_e4m3fn")
    linear = paged.model.diffusion_model.blocks[0].ffn[0]
    assert linear.weight.dtype is torch.float32 and linear.weight_comfy_model_dtype is torch.float8_e4m3fn
    head = paged.model.diffusion_model.head.head
    assert head.weight_comfy_model_dtype is torch.float32


def test_quantised_weights(lazily, write, state, velocity, model):
    from comfy.quant_ops import QuantizedTensor

    made = dict(state)
    layer = "blocks.1.ffn.0"
    weight = QuantizedTensor.from_float(made.pop(f"{layer}.weight"), "TensorCoreFP8E4M3Layout", scale="recalculate")
    made |= weight.state_dict(f"{layer}.weight")
    made[f"{layer}.comfy_quant"] = torch.tensor(
        list(json.dumps({"format": "float8_e4m3fn"}).encode()), dtype=torch.uint8
    )
    paged = lazily(write(made, "quantised.safetensors"))
    assert isinstance(paged.model.diffusion_model.blocks[1].ffn[0].weight, QuantizedTensor)
    exact = velocity(model)
    assert 0 < float((velocity(paged) - exact).norm() / exact.norm()) < 2e-2


def test_a_copy_without_it(lazily, write, state, velocity, model):
    """Of the protocol of torch.compile and of hooks."""
    paged = lazily(write(state, "other.safetensors"))
    function, arguments = paged.cached_patcher_init
    plain = function(*arguments, disable_dynamic=True)
    assert not plain.is_dynamic()
    torch.testing.assert_close(velocity(plain), velocity(model))
