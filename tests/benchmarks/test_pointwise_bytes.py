"""Bytes of calls that can be counted by hand."""

import pytest
import torch

from benchmarks.pointwise_bytes import pointwise_bytes

KILO = 1000  # float32 numbers, 4000 bytes


@pytest.fixture(params=["cpu", "meta"])
def x(request):
    return torch.zeros(KILO, device=request.param)


def test_what_is_read_and_what_is_written(x):
    assert pointwise_bytes(lambda: x + x) == 3 * 4 * KILO
    assert pointwise_bytes(x.bfloat16) == (4 + 2) * KILO
    assert pointwise_bytes(lambda: x.mul_(2)) == 2 * 4 * KILO
    assert pointwise_bytes(lambda: torch.add(x, x, out=torch.empty_like(x))) == 3 * 4 * KILO
    assert pointwise_bytes(lambda: x.copy_(x)) == 2 * 4 * KILO


def test_views_products_and_attention_do_not_count(x):
    square = x[:900].view(30, 30)
    assert pointwise_bytes(lambda: (square.t(), torch.empty_like(x), square @ square)) == 0
    heads = x[:960].view(1, 2, 20, 24)
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    assert pointwise_bytes(lambda: kernel(heads, heads, heads)) == 0
