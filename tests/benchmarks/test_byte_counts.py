"""Bytes of calls that can be counted by hand."""

import pytest
import torch
from torch.nn import functional

from benchmarks.byte_counts import pointwise_bytes


@pytest.fixture(params=["cpu", "meta"])
def x(request):
    return torch.zeros(10, 100, device=request.param)


def test_elementwise_work_reads_and_writes(x):
    assert pointwise_bytes(lambda: x + 1) == 8000
    assert pointwise_bytes(lambda: x.mul_(2)) == 8000
    assert pointwise_bytes(lambda: x.to(torch.bfloat16)) == 6000


def test_a_broadcast_tensor_is_read_at_its_own_size(x):
    row = torch.zeros(100, device=x.device)
    assert pointwise_bytes(lambda: x + row) == 8400
    assert pointwise_bytes(lambda: x + row.expand(10, 100)) == 8400


def test_memory_that_is_only_asked_for(x):
    assert pointwise_bytes(lambda: torch.empty_like(x)) == 0


def test_products_attention_and_views_do_not_count(x):
    heads = x.view(1, 2, 5, 100)
    assert pointwise_bytes(lambda: x @ x.mT) == 0
    assert pointwise_bytes(lambda: functional.linear(x, x, x[0, :10])) == 0
    if x.device.type == "cpu":
        assert pointwise_bytes(lambda: functional.scaled_dot_product_attention(heads, heads, heads)) == 0
