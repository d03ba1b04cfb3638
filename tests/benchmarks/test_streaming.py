"""Both ways that are compared give the same, and lockstep moves weights once."""

import torch

from benchmarks.streaming import BRANCHES, in_int8, step, streamed_bytes, with_streaming
from benchmarks.twin import make_run, random_model
from benchmarks.workloads import TWIN_IMAGE
from loom_core.offload.blocks import slot_bytes, tensors_of


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


@torch.no_grad()
def test_in_int8_less_is_moved_and_alive():
    model = random_model(TWIN_IMAGE)
    run, small = make_run(model, TWIN_IMAGE), in_int8(model)
    (peak, moved), (peak_small, moved_small) = (streamed_bytes(one, run) for one in (model, small))
    assert moved == with_streaming(model, run)[1]
    assert moved_small < 0.3 * moved
    less = peak - peak_small
    slots = [2 * slot_bytes(tensors_of(one.blocks[0])) for one in (model, small)]
    wide = 4 * model.config.hidden_size * model.config.ffn_dim  # bytes of the largest matrix, while it is used
    assert slots[0] - slots[1] - wide <= less <= slots[0] - slots[1]
