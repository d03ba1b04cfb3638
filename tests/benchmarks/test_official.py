"""What surrounds the official code; it itself where LOOMVIDEO_OFFICIAL names a checkout."""

import os
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from benchmarks import official


def test_without_a_checkout_it_says_what_it_needs(monkeypatch, tmp_path):
    monkeypatch.delenv(official.VARIABLE, raising=False)
    assert official.VARIABLE in official.missing()
    monkeypatch.setenv(official.VARIABLE, str(tmp_path))
    assert "no checkout" in official.missing()


def test_attention_on_meta_is_the_fused_one():
    q = torch.randn(1, 2, 8, 16)
    expected = functional.scaled_dot_product_attention(q, q, q)
    with official.FlashOnMeta():
        torch.testing.assert_close(functional.scaled_dot_product_attention(q, q, q), expected)
        named = functional.scaled_dot_product_attention(query=q, key=q, value=q, attn_mask=None)
        torch.testing.assert_close(named, expected)


@pytest.mark.slow
@pytest.mark.skipif(official.VARIABLE not in os.environ, reason=f"needs the official code: set {official.VARIABLE}")
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_the_official_code_gives_the_same_velocity(dtype, most):
    assert official.errors(Path(os.environ[official.VARIABLE]), official.SMALL, dtype) < most
