"""The words for attention, and the packages behind them."""

from __future__ import annotations

from loom_core.config.attention import ATTENTIONS, PACKAGES


def test_every_package_has_a_word_of_its_own():
    assert ATTENTIONS == ("auto", "sdpa", "flash", "sage")
    assert set(PACKAGES) == set(ATTENTIONS[2:])
    names = [name for one in PACKAGES.values() for name in (one.package, f"{one.module}.{one.function}")]
    assert names == ["flash-attn", "flash_attn.flash_attn_func", "sageattention", "sageattention.sageattn"]
