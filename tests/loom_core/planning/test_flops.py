"""Closed formulas, by hand here; tests/benchmarks/test_flops.py holds them against torch's counter."""

from dataclasses import replace

from loom_core.config.model import DiTConfig
from loom_core.planning.flops import forward_flops, keys_values_flops, projector_flops

ONE = DiTConfig(
    hidden_size=6, num_heads=1, head_dim=6, num_layers=1, ffn_dim=10, in_channels=2, out_channels=2, time_embed_dim=4,
    mllm_dim=5,
)  # fmt: skip


def test_a_block_by_hand():
    time = 4 * 6 + 6 * 6 + 6 * 36
    ends = 3 * 6 * 4 * (2 + 2)
    tokens = 3 + 2
    block = tokens * (6 * 36 + 2 * 6 * 10) + 2 * tokens * tokens * 6 + 2 * tokens * 7 * 6
    sizes = {"target": 3, "references": 2, "context": 7}
    assert forward_flops(ONE, **sizes, drops_references=False) == 2 * (time + ends + block)
    last = tokens * 2 * 36 + 3 * (4 * 36 + 2 * 6 * 10) + 2 * 3 * tokens * 6 + 2 * 3 * 7 * 6
    assert forward_flops(ONE, **sizes) == 2 * (time + ends + last)
    two = replace(ONE, num_layers=2)
    assert forward_flops(two, **sizes) == 2 * (time + ends + block + last)


def test_contexts_by_hand():
    assert keys_values_flops(ONE, 7) == 2 * 7 * 2 * 36
    assert projector_flops(ONE, 7) == 2 * 7 * (5 * 24 + 24 * 6)
