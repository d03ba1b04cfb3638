"""When kernels are used; what they compute is tested in test_triton_kernels.py."""

from __future__ import annotations

import logging

import pytest
import torch

from benchmarks.operator_counts import count_operators
from loom_core.errors import ConfigError
from loom_core.models import kernels
from loom_core.models.dit import LoomDiT
from loom_core.types import Condition

BF16 = torch.bfloat16


def test_never_with_gradients_nor_while_compiling(monkeypatch):
    x = torch.empty(1)
    with kernels.chosen_kernels("triton"):
        assert not kernels.has_kernels(x)
        with torch.no_grad():
            assert kernels.has_kernels(x)
            monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
            assert not kernels.has_kernels(x)


def test_by_default_on_a_gpu_alone_and_only_where_they_work(monkeypatch):
    class OnGpu:
        device, dtype = torch.device("cuda"), BF16

    monkeypatch.setattr(kernels, "_work", lambda device, dtype: (device.type, dtype) == ("cuda", BF16))
    with torch.no_grad():
        assert not kernels.has_kernels(torch.empty(1))
        assert kernels.has_kernels(OnGpu())
        with kernels.chosen_kernels("torch"):
            assert not kernels.has_kernels(OnGpu())


@pytest.mark.parametrize("wrong", [lambda *_: 0.5, lambda *_: float("nan"), lambda *_: 1 / 0])
def test_what_fails_or_is_wrong_is_said_once_and_not_used(monkeypatch, caplog, wrong):
    monkeypatch.setattr(kernels, "_largest_error", wrong)
    kernels._work.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert not kernels._work(torch.device("cpu"), BF16)
        assert not kernels._work(torch.device("cpu"), BF16)
    kernels._work.cache_clear()
    assert len(caplog.records) == 1
    assert "not used on cpu" in caplog.text


def test_an_unknown_word():
    with pytest.raises(ConfigError, match="kernels 'cuda'"), kernels.chosen_kernels("cuda"):
        pass


def test_one_operation_each_on_meta(small_config):
    """Modulation, gate, and the norm with the turn are one kernel each, which is what is counted."""
    model = LoomDiT(small_config, device="meta", dtype=BF16).requires_grad_(False)
    latents = torch.empty(1, 4, 2, 4, 4, device="meta", dtype=BF16)
    states = tuple(torch.empty(3, small_config.mllm_dim, device="meta") for _ in range(small_config.num_layers))
    with torch.no_grad():
        prepared = model.prepare([Condition(states)], latents)

    def count():
        return count_operators(lambda: model(latents, torch.tensor([500.0], device="meta"), prepared)).kernels

    assert count() >= (many := count())  # the first makes what later ones find
    with kernels.chosen_kernels("triton"):
        few = count()
    # modulation has four operations, the norm with the turn eleven; each twice a block, and one modulation in the head
    assert many - few == small_config.num_layers * 2 * (3 + 10) + 3
