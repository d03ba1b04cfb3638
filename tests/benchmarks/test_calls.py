"""Calls of a short run, counted by hand, and that both ways make the same video."""

import pytest
import torch

from benchmarks import calls
from benchmarks.twin import random_model
from benchmarks.workloads import Workload
from loom_core.geometry import latent_shape
from loom_core.models import rope

STEPS = 2
BLOCKS = 30


@pytest.fixture(scope="module")
def run():
    shape = latent_shape(calls.FRAMES, calls.SIZE, calls.SIZE)
    model = random_model(Workload(name="calls", config=calls.CONFIG, target=shape, context_tokens=5))
    return model, calls.edit_plan(steps=STEPS), calls.edit_conditions(calls.CONFIG)


def test_counts_of_both_ways(run):
    found, latents = {}, {}
    for way in (calls.run_prepared, calls.run_unprepared):
        with calls.counted(run[0]) as counts:
            latents[way] = way(*run)
        found[way] = dict(counts)
    assert found[calls.run_prepared]["projector"] == 3 * BLOCKS
    assert found[calls.run_prepared]["keys_values"] == 3 * BLOCKS
    assert found[calls.run_prepared]["forward"] == 3 * STEPS
    assert found[calls.run_prepared]["rope"] == 2  # the target's and the reference's, for all branches
    assert found[calls.run_unprepared]["projector"] == 3 * STEPS * BLOCKS
    assert found[calls.run_unprepared]["forward"] == 3 * STEPS
    assert found[calls.run_unprepared]["rope"] == 5 * STEPS  # two branches have a reference's table too
    torch.testing.assert_close(*latents.values(), atol=1e-5, rtol=1e-5)


def test_counting_leaves_nothing_behind(run):
    table = rope.rope_table
    with calls.counted(run[0]) as counts:
        pass
    calls.run_prepared(*run)
    assert rope.rope_table is table
    assert not counts


def test_the_vision_tower():
    alone, together = calls.vision_tower_calls()
    assert (alone, together) == (2, 1)
