"""Peaks of calls whose tensors can be counted by hand."""

import pytest
import torch

from benchmarks.live_memory import LiveMemory, peak_live_bytes

KILO = 1000  # float32 numbers, 4000 bytes


@pytest.fixture(params=["cpu", "meta"])
def x(request):
    return torch.zeros(KILO, device=request.param)


def test_result_counts_and_input_does_not(x):
    assert peak_live_bytes(lambda: x + 1) == 4 * KILO


def test_views_and_in_place_work_take_nothing(x):
    assert peak_live_bytes(lambda: x.view(10, 100).t()[2:]) == 0
    assert peak_live_bytes(lambda: x.mul_(2)) == 0
    assert peak_live_bytes(lambda: (x + 1).mul_(2).view(10, 100)) == 4 * KILO


def test_a_tensor_that_died_makes_room(x):
    def one_after_another():
        y = x + 1
        y = y + 1  # both live while this runs
        return y + 1  # the first is gone

    def all_kept():
        first = x + 1
        second = first + 1
        return first, second, second + 1

    assert peak_live_bytes(one_after_another) == 2 * 4 * KILO
    assert peak_live_bytes(all_kept) == 3 * 4 * KILO


def test_a_view_keeps_its_storage_alive(x):
    def run():
        tail = (x + 1)[-1:]
        return tail, x + 2

    assert peak_live_bytes(run) == 2 * 4 * KILO


def test_dtype_counts():
    x = torch.zeros(KILO, dtype=torch.bfloat16, device="meta")
    assert peak_live_bytes(x.float) == 4 * KILO
    assert peak_live_bytes(lambda: x + 1) == 2 * KILO


def test_nothing_is_live_at_the_end(x):
    with torch.no_grad(), LiveMemory() as memory:
        y = x + 1
        del y
    assert memory.live == 0
    assert memory.peak == 4 * KILO
