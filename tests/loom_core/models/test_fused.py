"""Parts with a backward pass of their own, against the plain formulas and finite differences."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from loom_core.models.fused import gate_segments, is_fused, norm_modulate_segments, rms_norm, writes_in_place

LENGTHS, ROWS = (3, 2, 4), (0, 2, 0)


def leaves(*sizes, dtype=torch.float64):
    generator = torch.Generator().manual_seed(4)
    return [torch.randn(size, generator=generator, dtype=dtype).requires_grad_(True) for size in sizes]


def gradients_of(output, wanted):
    return torch.autograd.grad((output.float() * torch.linspace(-1, 1, output.numel()).view_as(output)).sum(), wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rms_norm(dtype):
    """A float32 weight with bfloat16 values, as under autocast, costs nothing but the rounding of the result."""
    x, weight = leaves((2, 5, 8), (8,), dtype=torch.float32)
    x = (x.detach() * 3).to(dtype).requires_grad_(True)
    actual = rms_norm(x, weight, eps=1e-2)
    expected = functional.rms_norm(x.float(), (8,), weight, 1e-2)
    assert actual.dtype == dtype
    close = {"atol": 1e-6, "rtol": 1e-5} if dtype == torch.float32 else {"atol": 1e-2, "rtol": 1e-2}
    torch.testing.assert_close(actual, expected.to(dtype), **close)
    for mine, plain in zip(gradients_of(actual, (x, weight)), gradients_of(expected, (x, weight)), strict=True):
        assert mine.dtype == plain.dtype
        torch.testing.assert_close(mine, plain, **close)


def test_norm_and_gate_by_segments():
    x, update, shift, scale, gate = leaves((1, 9, 8), (1, 9, 8), (3, 8), (3, 8), (3, 8), dtype=torch.float32)
    index = torch.tensor(ROWS).repeat_interleave(torch.tensor(LENGTHS))
    where = {"lengths": LENGTHS, "rows": ROWS}
    pairs = (
        (
            norm_modulate_segments(x, shift, scale, eps=1e-6, **where),
            functional.layer_norm(x, (8,), eps=1e-6) * (1 + scale[index]) + shift[index],
            (x, shift, scale),
        ),
        (gate_segments(x, update, gate, **where), x + update * gate[index], (x, update, gate)),
    )
    for actual, expected, wanted in pairs:
        torch.testing.assert_close(actual, expected)
        gradients = gradients_of(actual, wanted)
        for mine, plain in zip(gradients, gradients_of(expected, wanted), strict=True):
            torch.testing.assert_close(mine, plain)
        assert not gradients[-1][1].any()  # no segment takes row 1


def test_inputs_are_left_as_they_were():
    x, update, weight, gate = leaves((1, 9, 8), (1, 9, 8), (8,), (3, 8), dtype=torch.float32)
    before = [part.detach().clone() for part in (x, update, weight, gate)]
    gradient = torch.ones(1, 9, 8)
    rms_norm(x, weight, eps=1e-6).backward(gradient)
    gate_segments(x, update, gate, lengths=LENGTHS, rows=ROWS).backward(gradient)
    assert all(torch.equal(part, old) for part, old in zip((x, update, weight, gate), before, strict=True))
    assert torch.equal(gradient, torch.ones(1, 9, 8))


def test_used_on_a_cpu_alone():
    assert is_fused(torch.empty(1))
    assert not is_fused(torch.empty(1, device="meta"))


def test_written_in_place_only_without_gradients(monkeypatch):
    assert not writes_in_place(torch.empty(1))
    with torch.no_grad():
        assert writes_in_place(torch.empty(1))
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
        assert not writes_in_place(torch.empty(1))
