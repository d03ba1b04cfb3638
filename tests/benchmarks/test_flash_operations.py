import pytest
import torch

from benchmarks.flash_operations import FlashOperations
from benchmarks.operator_counts import OperatorCounts, count_operators
from loom_core.models.operations import TorchOperations


def test_same_attention_as_the_default():
    queries, keys, values = torch.randn(1, 7, 24), torch.randn(1, 9, 24), torch.randn(1, 9, 24)
    expected = TorchOperations.attention(queries, keys, values, num_heads=3)
    torch.testing.assert_close(FlashOperations.attention(queries, keys, values, num_heads=3), expected)


def test_mask_is_refused():
    x = torch.randn(1, 7, 24)
    with pytest.raises(ValueError, match="padding"):
        FlashOperations.attention(x, x, x, num_heads=3, mask=torch.ones(1, 7, dtype=torch.bool))


def test_a_norm_is_one_kernel_with_the_numbers_of_torch():
    norm = FlashOperations.RMSNorm(24, eps=1e-6)
    x = torch.randn(1, 7, 24)
    torch.testing.assert_close(norm(x), torch.nn.functional.rms_norm(x, (24,), norm.weight, 1e-6))
    meta, x = FlashOperations.RMSNorm(24, eps=1e-6, device="meta"), x.to("meta")
    assert count_operators(lambda: meta(x)) == OperatorCounts(kernels=1, matrix_products=0)
