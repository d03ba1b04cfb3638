"""The kernels in Triton's interpreter, on a CPU, against their twins in plain torch.

Run by test_triton_kernels.py, in a process where `TRITON_INTERPRET` is set.
"""

from __future__ import annotations

import copy

import pytest
import torch

from loom_core.models import kernels as chosen
from loom_core.models import triton_kernels as kernels
from loom_core.models.layers import TwoRows, gated_residual, norm_modulate
from loom_core.models.rope import RopeTable, apply_rope
from loom_core.types import Condition, Reference

WIDTH, LENGTH, TARGETS, HEADS = 96, 5, 3, 4  # a width that is no power of two
CLOSE = {torch.float32: {"atol": 1e-5, "rtol": 1e-5}, torch.bfloat16: {"atol": 2e-2, "rtol": 1e-2}}
DTYPES = pytest.mark.parametrize("dtype", list(CLOSE))


def noise(*size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def rows(seed, samples):
    return TwoRows(noise(samples, 6, 1, WIDTH, seed=seed)[:, 1], noise(1, 1, WIDTH, seed=seed + 1))  # strided, as split


@DTYPES
@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("has_references", [True, False])
def test_norm_modulate(dtype, samples, has_references):
    tokens = noise(2, LENGTH, WIDTH).to(dtype)
    shift, scale = rows(1, samples), rows(3, samples)
    if not has_references:
        shift, scale = TwoRows(shift.target, None), TwoRows(scale.target, None)
    targets = TARGETS if has_references else LENGTH
    expected = norm_modulate(tokens, shift, scale, num_target=targets, eps=1e-2)
    arguments = (shift.target, scale.target, shift.reference, scale.reference)
    actual = kernels.norm_modulate(tokens, *arguments, targets, 1e-2)
    torch.testing.assert_close(actual, expected, **CLOSE[dtype])


@DTYPES
@pytest.mark.parametrize("samples", [1, 2])
def test_gated_residual(dtype, samples):
    tokens, update, gate = (
        noise(2, LENGTH, WIDTH).to(dtype),
        noise(2, LENGTH, WIDTH, seed=5).to(dtype),
        rows(6, samples),
    )
    expected = gated_residual(tokens, update, gate, num_target=TARGETS)
    actual = kernels.gated_residual(tokens, update, gate.target, gate.reference, TARGETS)
    torch.testing.assert_close(actual, expected, **CLOSE[dtype])


@DTYPES
@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("has_norm", [True, False])
def test_norm_and_rotary_turn(dtype, samples, has_norm):
    """Queries and keys may be parts of one wider product, whose other parts stay as they are."""
    whole = noise(2, LENGTH, 3 * WIDTH).to(dtype)
    before, part = whole.clone(), slice(WIDTH, 2 * WIDTH)
    weight = noise(WIDTH, seed=7).to(dtype) if has_norm else None
    table = RopeTable(*noise(2, samples, LENGTH, WIDTH // HEADS // 2, seed=8))
    normed = before[..., part]
    if has_norm:
        normed = torch.nn.functional.rms_norm(normed, (WIDTH,), weight, 1e-2)
    kernels.norm_rope_(whole[..., part], weight, table.cos, table.sin, HEADS, 1e-2)
    expected = apply_rope(normed, table, num_heads=HEADS)
    torch.testing.assert_close(whole[..., part], expected, **CLOSE[dtype])
    assert torch.equal(whole[..., :WIDTH], before[..., :WIDTH])
    assert torch.equal(whole[..., 2 * WIDTH :], before[..., 2 * WIDTH :])


@DTYPES
def test_the_try_before_the_first_use(dtype):
    assert chosen._largest_error(torch.device("cpu"), dtype) < CLOSE[dtype]["atol"]


@DTYPES
@pytest.mark.parametrize("num_references", [0, 2])
def test_a_whole_model(small_model, small_config, dtype, num_references):
    """With projections as one product, whose parts queries and keys then are."""
    model = copy.deepcopy(small_model).to(dtype)
    latents = noise(2, 4, 2, 4, 6).to(dtype)
    conditions = [
        Condition(
            tuple(noise(length, small_config.mllm_dim, seed=length) for _ in range(small_config.num_layers)),
            noise(4, 2, 4, 6, seed=20),
            tuple(Reference(noise(4, 1, 4, 4, seed=30 + number)) for number in range(num_references)),
        )
        for length in (3, 5)
    ]
    with torch.no_grad():
        prepared = model.prepare(conditions, latents)
        expected = model(latents, torch.tensor([999, 500]), prepared)
        model.fuse_projections()
        with chosen.chosen_kernels("triton"):
            actual = model(latents, torch.tensor([999, 500]), prepared)
    error = (actual.float() - expected.float()).norm() / expected.float().norm()
    assert error < (1e-6 if dtype == torch.float32 else 1e-2)
