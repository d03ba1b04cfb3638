"""One block: which tokens its modulation reaches, and that each part is a residual."""

from __future__ import annotations

import pytest
import torch

from loom_core.geometry import LatentShape
from loom_core.models.block import NUM_ROWS, BlockInputs, Gelu, LoomBlock
from loom_core.models.operations import LayerFactory, TorchOperations
from loom_core.models.rope import rope_table

DIM, TARGETS = 24, 4


@pytest.fixture
def block():
    generator = torch.Generator().manual_seed(0)
    made = LoomBlock(DIM, 32, num_heads=2, eps=1e-6, layers=LayerFactory(TorchOperations))
    for parameter in made.parameters():
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
    return made.requires_grad_(False)


def run(block, tokens, time_rows):
    rope = rope_table(LatentShape(1, 4, 4), 12)
    if tokens.shape[1] > TARGETS:
        rope = rope.append(rope_table(LatentShape(1, 2, 2), 12, temporal_index=-10))
    context = block.cross_attn.keys_values(torch.ones(1, 3, DIM))
    return block(tokens, context, BlockInputs(torch.zeros(1, DIM), time_rows, TARGETS, rope, TorchOperations.attention))


def test_the_timestep_modulates_targets_only(block):
    """With attention silenced nothing mixes tokens, so a reference must not see the timestep at all."""
    for part in (block.self_attn.o, block.cross_attn.o):
        part.weight.zero_()
    tokens = torch.randn(1, TARGETS + 1, DIM, generator=torch.Generator().manual_seed(1))
    rows = torch.randn(2, 1, NUM_ROWS * DIM, generator=torch.Generator().manual_seed(2))
    one, other = (run(block, tokens, row) for row in rows)
    assert torch.equal(one[:, TARGETS:], other[:, TARGETS:])
    assert not torch.isclose(one[:, :TARGETS], other[:, :TARGETS]).all(-1).any()


def test_closed_gates_leave_cross_attention_alone(block):
    """Rows 2 and 5 are the gates of self-attention and the feed-forward part; cross-attention has none."""
    block.modulation[:, [2, 5]] = 0.0
    tokens = torch.randn(1, TARGETS, DIM, generator=torch.Generator().manual_seed(3))
    rows = torch.randn(1, NUM_ROWS, DIM, generator=torch.Generator().manual_seed(4))
    rows[:, [2, 5]] = 0.0
    context = block.cross_attn.keys_values(torch.ones(1, 3, DIM))
    expected = tokens + block.cross_attn(block.norm3(tokens), context, TorchOperations.attention)
    torch.testing.assert_close(run(block, tokens, rows.flatten(1)), expected)


def test_a_gate_scales_what_its_part_adds(block):
    block.modulation.zero_()
    for part in (block.cross_attn.o, block.self_attn.o):
        part.weight.zero_()
        part.bias.zero_()
    tokens = torch.randn(1, TARGETS, DIM, generator=torch.Generator().manual_seed(5))
    rows = torch.zeros(1, NUM_ROWS, DIM)
    normed = torch.nn.functional.layer_norm(tokens, (DIM,), eps=1e-6)
    for gate in (0.5, 2.0):
        rows[:, 5] = gate
        torch.testing.assert_close(run(block, tokens, rows.flatten(1)), tokens + gate * block.ffn(normed))


def test_the_activation_takes_no_memory_of_its_own_without_gradients():
    x = torch.randn(3, 5, generator=torch.Generator().manual_seed(6))
    expected = torch.nn.functional.gelu(x, approximate="tanh")
    activation, before = Gelu(), x.clone()
    torch.testing.assert_close(activation(x), expected)
    assert torch.equal(x, before)  # with gradients what comes in is needed again
    with torch.no_grad():
        result = activation(x)
    torch.testing.assert_close(result, expected)
    assert result.data_ptr() == x.data_ptr()
