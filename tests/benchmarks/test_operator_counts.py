"""Counts of calls whose operations can be named."""

import torch

from benchmarks.operator_counts import OperatorCounts, count_operators, is_view


def test_linear_is_one_matrix_product():
    layer, x = torch.nn.Linear(3, 5), torch.randn(7, 3)
    assert count_operators(lambda: layer(x)) == OperatorCounts(kernels=1, matrix_products=1)


def test_views_are_no_kernels():
    x = torch.randn(4, 6)
    assert count_operators(lambda: x.view(6, 4).t()[1:].unsqueeze(0)) == OperatorCounts(0, 0)
    assert count_operators(lambda: x.t().contiguous() + 1) == OperatorCounts(2, 0)


def test_work_in_place_is_a_kernel():
    assert not is_view(torch.ops.aten.add_.Tensor)
    assert is_view(torch.ops.aten.view.default)
    assert is_view(torch.ops.aten._unsafe_view.default)
    assert not is_view(torch.ops.aten.cat.default)


def test_making_room_is_no_kernel():
    x = torch.randn(3)
    assert count_operators(lambda: torch.add(x, 1, out=torch.empty_like(x))) == OperatorCounts(1, 0)


def test_convolution_is_a_matrix_product():
    layer = torch.nn.Conv3d(2, 3, kernel_size=(1, 2, 2), stride=(1, 2, 2))
    assert count_operators(lambda: layer(torch.randn(1, 2, 1, 4, 4))).matrix_products == 1
