import pytest
import torch

from benchmarks.flash_operations import FlashOperations
from loom_core.models.operations import TorchOperations


def test_same_attention_as_the_default():
    queries, keys, values = torch.randn(1, 7, 24), torch.randn(1, 9, 24), torch.randn(1, 9, 24)
    expected = TorchOperations.attention(queries, keys, values, num_heads=3)
    torch.testing.assert_close(FlashOperations.attention(queries, keys, values, num_heads=3), expected)


def test_mask_is_refused():
    x = torch.randn(1, 7, 24)
    with pytest.raises(ValueError, match="padding"):
        FlashOperations.attention(x, x, x, num_heads=3, mask=torch.ones(1, 7, dtype=torch.bool))
