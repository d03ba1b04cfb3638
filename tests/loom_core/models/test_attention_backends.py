"""Packages' kernels behind one function; modules that compute with torch stand in for them, since they need a GPU."""

from __future__ import annotations

import logging
import sys
from types import ModuleType

import pytest
import torch
from torch.nn import functional

from loom_core.config.attention import PACKAGES
from loom_core.errors import ConfigError, MissingExtraError
from loom_core.models import attention_backends
from loom_core.models.attention_backends import attention_by, choose_attention
from loom_core.models.operations import TorchOperations

CPU = torch.device("cpu")
SIZES = {"device": CPU, "dtype": torch.bfloat16, "num_heads": 2, "head_dim": 8}


def heads_mixed(queries, keys, values):
    """Of [B, L, heads, width], as the packages' kernels take them."""
    parts = (part.transpose(1, 2) for part in (queries, keys, values))
    return functional.scaled_dot_product_attention(*parts).transpose(1, 2)


@pytest.fixture
def install(monkeypatch):
    """Puts a package in place whose kernel records its calls, and lets it run on a CPU."""
    monkeypatch.setattr(attention_backends, "DEVICES", ("cpu",))
    for package in PACKAGES.values():
        monkeypatch.setitem(sys.modules, package.module, None)  # absent, whatever is installed here

    def put(name, kernel=heads_mixed):
        calls = []

        def called(queries, keys, values, **options):
            calls.append((tuple(queries.shape), tuple(keys.shape), options))
            return kernel(queries, keys, values)

        module = ModuleType(PACKAGES[name].module)
        setattr(module, PACKAGES[name].function, called)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return calls

    return put


def noise(*size, seed=0, dtype=torch.bfloat16):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize(("name", "options"), [("flash", {}), ("sage", {"tensor_layout": "NHD"})])
def test_a_package_attends_with_its_own_layout(install, name, options):
    calls = install(name)
    parts = noise(2, 5, 16), noise(2, 7, 16, seed=1), noise(2, 7, 16, seed=2)
    mixed = attention_by(name)(*parts, num_heads=2)
    torch.testing.assert_close(mixed, TorchOperations.attention(*parts, num_heads=2))
    assert calls == [((2, 5, 2, 8), (2, 7, 2, 8), options)]


@pytest.mark.parametrize("why", ["padding", "float32", "unequal"])
def test_calls_that_a_kernel_does_not_take_are_torch_s(install, why):
    calls = install("flash")
    dtype = torch.float32 if why == "float32" else torch.bfloat16
    parts = [noise(1, 4, 16, seed=seed, dtype=dtype) for seed in range(3)]
    mask = torch.tensor([[True, True, True, False]]) if why == "padding" else None
    if why == "unequal":
        with pytest.raises(RuntimeError, match="dtype"):  # torch's own message, not the kernel's
            attention_by("flash")(parts[0].float(), *parts[1:], num_heads=2)
    else:
        mixed = attention_by("flash")(*parts, num_heads=2, mask=mask)
        torch.testing.assert_close(mixed, TorchOperations.attention(*parts, num_heads=2, mask=mask))
    assert calls == []


def test_torch_s_own_is_the_one_that_training_knows():
    assert attention_by("sdpa") is TorchOperations.attention


def test_auto_takes_flash_where_it_works_and_never_one_at_a_loss(install):
    assert choose_attention("auto", **SIZES) == "sdpa"
    sage = install("sage")
    assert choose_attention("auto", **SIZES) == "sdpa" and sage == []
    flash = install("flash")
    assert choose_attention("auto", **SIZES) == "flash"
    assert len(flash) == 1  # tried
    assert choose_attention("sage", **SIZES) == "sage" and len(sage) == 1
    assert choose_attention("sdpa", **SIZES) == "sdpa" and len(flash) == 1


@pytest.mark.parametrize(
    "kernel",
    [lambda q, k, v: heads_mixed(q, k, v) * 1.5, lambda q, k, v: q * torch.nan, lambda q, k, v: q.no_such_kernel()],
)
def test_a_kernel_that_fails_or_gives_other_numbers_is_not_used(install, kernel, caplog):
    install("flash", kernel)
    with caplog.at_level(logging.WARNING):
        assert choose_attention("auto", **SIZES) == "sdpa"
    assert "attention flash, whose kernel" in caplog.text
    with pytest.raises(ConfigError, match=r"attention flash, whose kernel.*2 heads of 8.*install another flash-attn"):
        choose_attention("flash", **SIZES)


@pytest.mark.parametrize("name", list(PACKAGES))
def test_an_absent_package_is_named(install, name):
    package = PACKAGES[name].package
    with pytest.raises(MissingExtraError, match=f"no Python package '{package}'.*--attention {name}.*pip install"):
        choose_attention(name, **SIZES)


def test_a_package_that_is_built_for_another_torch(install, monkeypatch):
    def broken(_name):
        raise ImportError("undefined symbol: _ZN3c10\nmore")

    monkeypatch.setattr(attention_backends, "import_module", broken)
    assert choose_attention("auto", **SIZES) == "sdpa"
    with pytest.raises(MissingExtraError, match=r"flash-attn that can be imported \(undefined symbol: _ZN3c10\)"):
        choose_attention("flash", **SIZES)


@pytest.mark.parametrize("change", [{"device": torch.device("mps")}, {"dtype": torch.float32}])
def test_where_no_kernel_runs(install, change):
    calls = install("flash")
    assert choose_attention("auto", **{**SIZES, **change}) == "sdpa"
    with pytest.raises(ConfigError, match=r"attention flash on \w+ in \w+; expected an NVIDIA GPU, and bf16 or fp16"):
        choose_attention("flash", **{**SIZES, **change})
    assert calls == []


def test_unknown_names_are_refused():
    with pytest.raises(ConfigError, match="attention 'flesh'; expected auto, sdpa, flash, sage"):
        choose_attention("flesh", **SIZES)
    with pytest.raises(ConfigError, match="attention 'auto'; expected sdpa, flash, sage"):
        attention_by("auto")
