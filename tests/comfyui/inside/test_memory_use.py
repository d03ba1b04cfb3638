"""Memory of a run: of the process on a CPU, of torch and the host's own pages on a GPU, unknown elsewhere."""

from __future__ import annotations

import types
from importlib import import_module

import pytest
import torch

MB = 1 << 20


@pytest.fixture
def memory_use(pack):
    return import_module(f"{pack.__name__}.nodes.adapter.memory_use")


def test_on_a_cpu_it_is_the_process(memory_use):
    meter = memory_use.MemoryMeter(torch.device("cpu"))
    before = meter.use()
    kept = torch.ones(200 * MB, dtype=torch.uint8)
    during = meter.use(7)
    assert (during.of, during.predicted) == ("process", 7)
    assert during.used - before.used > 150 * MB
    assert 0 < before.used < before.free == during.free
    del kept
    assert meter.use().used >= during.used  # the most, not what is left


def test_on_a_cpu_a_step_comes_on_top_of_what_is_there(memory_use):
    meter = memory_use.MemoryMeter(torch.device("cpu"))
    used = meter.use().used
    predicted = meter.with_weights(500 * MB, to_load=900 * MB)
    assert used + 400 * MB < predicted < used + 700 * MB


@pytest.fixture
def gpu(monkeypatch):
    """A GPU of which torch counts 300 bytes now and 450 at most, and the host has loaded a paged model and another."""
    from comfy import model_management

    device = torch.device("cuda", 0)
    resets = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", resets.append)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 300)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 450)
    monkeypatch.setattr(model_management, "get_free_memory", lambda _: 1000)

    def loaded(size, *, is_dynamic, on=device):
        model = types.SimpleNamespace(is_dynamic=lambda: is_dynamic)
        return types.SimpleNamespace(device=on, model=model, model_loaded_memory=lambda: size)

    models = [
        loaded(50, is_dynamic=True),
        loaded(120, is_dynamic=False),
        loaded(9000, is_dynamic=True, on=torch.device("cpu")),
        types.SimpleNamespace(device=device, model=None),
    ]
    monkeypatch.setattr(model_management, "current_loaded_models", models)
    return types.SimpleNamespace(device=device, resets=resets)


def test_on_a_gpu_the_hosts_own_pages_count_too(memory_use, gpu):
    meter = memory_use.MemoryMeter(gpu.device)
    use = meter.use(3)
    assert gpu.resets == [gpu.device]  # the most of this run, not of those before
    assert (use.of, use.predicted, use.used, use.free) == ("gpu", 3, 450 + 50, 1000 + 300 + 50)


def test_on_a_gpu_weights_are_predicted_until_they_are_there(memory_use, gpu):
    meter = memory_use.MemoryMeter(gpu.device)
    assert meter.with_weights(40, to_load=600) == 640
    assert meter.with_weights(40) == 50 + 120 + 40


def test_where_torch_does_not_count_nothing_is_said(memory_use):
    use = memory_use.MemoryMeter(torch.device("xpu")).use(5)
    assert (use.of, use.predicted, use.used, use.free) == ("gpu", 5, None, None)
