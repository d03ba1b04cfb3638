"""Bytes of calls that can be counted by hand."""

import pytest
import torch
from torch.nn import functional

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


@pytest.fixture
def table(x):
    return torch.zeros(10, 100, device=x.device)


def test_elementwise_work_reads_and_writes(table):
    assert pointwise_bytes(lambda: table + 1) == 8000
    assert pointwise_bytes(lambda: table.mul_(2)) == 8000
    assert pointwise_bytes(lambda: table.to(torch.bfloat16)) == 6000


def test_a_broadcast_tensor_is_read_at_its_own_size(table):
    row = torch.zeros(100, device=table.device)
    assert pointwise_bytes(lambda: table + row) == 8400
    assert pointwise_bytes(lambda: table + row.expand(10, 100)) == 8400


def test_memory_that_is_only_asked_for(table):
    assert pointwise_bytes(lambda: torch.empty_like(table)) == 0


def test_products_and_attention_as_they_are_called_do_not_count(table):
    heads = table.view(1, 2, 5, 100)
    assert pointwise_bytes(lambda: table @ table.mT) == 0
    assert pointwise_bytes(lambda: functional.linear(table, table, table[0, :10])) == 0
    if table.device.type == "cpu":
        assert pointwise_bytes(lambda: functional.scaled_dot_product_attention(heads, heads, heads)) == 0
