"""Both ways that are compared give the same, and lockstep moves weights once."""

import torch

from benchmarks.streaming import BRANCHES, step, with_streaming
from benchmarks.twin import make_run, random_model
from benchmarks.workloads import TWIN_IMAGE


@torch.no_grad()
def test_what_is_compared_is_the_same_work():
    model = random_model(TWIN_IMAGE)
    run = make_run(model, TWIN_IMAGE)
    expected = step(model, run, together=False)
    found, moved = with_streaming(model, run)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    count = len(model.blocks)
    _, apart = with_streaming(model, run, together=False)
    assert apart * (count + 1) == moved * (BRANCHES * count + 1)  # the first block comes once more, for the next pass
