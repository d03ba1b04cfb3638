"""One graph for all blocks, whatever the noise level and the lengths; backends that need no compiler."""

from __future__ import annotations

import copy

import pytest
import torch
from torch._dynamo.utils import counters

from loom_core.models.compiling import compile_blocks
from loom_core.types import Condition, Reference


@pytest.fixture(autouse=True)
def _fresh():
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def noise(*size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_one_graph_without_breaks_and_the_same_numbers(small_model, small_config, backend):
    compiled = copy.deepcopy(small_model)
    compile_blocks(compiled, backend=backend)
    assert list(compiled.state_dict()) == list(small_model.state_dict())

    def compare(*, length, timestep, frames=2, num_references=0):
        states = tuple(noise(length, small_config.mllm_dim, seed=layer) for layer in range(small_config.num_layers))
        references = tuple(Reference(noise(4, 1, 4, 4)) for _ in range(num_references))
        latents = noise(1, 4, frames, 4, 4, seed=9)
        with torch.no_grad():
            prepared = small_model.prepare([Condition(states, None, references)], latents)
            expected, actual = (model(latents, torch.tensor([timestep]), prepared) for model in (small_model, compiled))
        assert (actual - expected).norm() / expected.norm() <= 1e-6

    compare(length=5, timestep=999)
    for change in ({"timestep": 500}, {"length": 7}, {"length": 12, "frames": 3}):
        compare(**{"length": 5, "timestep": 999, **change})
    assert counters["stats"]["unique_graphs"] == 1
    compare(length=5, timestep=999, num_references=1)
    compare(length=6, timestep=3, num_references=2)
    assert counters["stats"]["unique_graphs"] == 3  # the last block, which leaves the references out, has its own
    assert not counters["graph_break"]
