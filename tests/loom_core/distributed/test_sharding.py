"""Parts of weights: which rows a rank has, and the way back to whole ones."""

from __future__ import annotations

import torch
from torch import nn

from loom_core.distributed.sharding import as_sharded, is_sharded, local_part, part_of, whole_of


class Model(nn.Module):
    """Blocks and something outside of them, of rows that two or three ranks cannot share evenly."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.blocks = nn.ModuleList(nn.Linear(5, 5) for _ in range(2))
        self.table = nn.Parameter(torch.empty(1, 4, 5))
        with torch.no_grad():
            for weight in self.parameters():
                weight.copy_(torch.randn(weight.shape, generator=generator))

    def forward(self, x):
        for block in self.blocks:
            x = torch.tanh(block(x))
        return x + self.table.sum(1)


def spread(ranks):
    whole, model = Model(), Model()
    ranks.shard(model)
    found = {}
    for name, weight in model.named_parameters():
        expected = dict(whole.named_parameters())[name].detach()
        part = local_part(weight)
        assert is_sharded(weight)
        assert torch.equal(part, part_of(expected, weight))
        assert torch.equal(whole_of(part, weight), expected)
        assert torch.equal(local_part(as_sharded(part, weight, ranks.mesh())), part)
        part.mul_(2)
        assert torch.equal(whole_of(local_part(weight), weight), 2 * expected), "it is the same memory"
        found[name] = part.shape[0]
    x = torch.randn(2, 5, generator=torch.Generator().manual_seed(ranks.rank))
    with torch.no_grad():
        for weight in whole.parameters():
            weight.mul_(2)
    output = model(x)
    assert torch.equal(output, whole(x))
    assert all(is_sharded(weight) for weight in model.parameters()), "nothing stays whole after a forward pass"
    output.sum().backward()
    return found, {name: whole_of(local_part(weight.grad), weight) for name, weight in model.named_parameters()}


def test_weights_are_cut_by_rows_and_gradients_are_means(processes):
    outcomes = processes.in_ranks(spread, size=3)
    assert [found["blocks.0.weight"] for found, _ in outcomes] == [2, 2, 1]
    assert [found["table"] for found, _ in outcomes] == [1, 0, 0]
    model = Model()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2)
    for rank in range(3):
        x = torch.randn(2, 5, generator=torch.Generator().manual_seed(rank))
        (model(x).sum() / 3).backward()
    for _, gradients in outcomes:
        for name, weight in model.named_parameters():
            torch.testing.assert_close(gradients[name], weight.grad, rtol=1e-5, atol=1e-6)


def test_a_tensor_that_is_not_spread_is_itself():
    tensor = torch.randn(3)
    assert not is_sharded(tensor)
    assert local_part(tensor) is tensor
    assert part_of(tensor, torch.empty(3)) is tensor
    assert whole_of(tensor, torch.empty(3)) is tensor
