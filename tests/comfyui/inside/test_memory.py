"""What happens when memory runs out: freed, tried again, told in one sentence."""

from __future__ import annotations

import gc
import weakref
from importlib import import_module

import pytest
import torch


@pytest.fixture
def memory(pack):
    return import_module(f"{pack.__name__}.nodes.adapter.memory")


@pytest.fixture
def errors(pack):
    return import_module(f"{pack.__name__}.loom_core.errors")


class Attempt:
    """Fails with the given exceptions, one a call, then returns what it was told to."""

    def __init__(self, *failures, result="done"):
        self.failures, self.result, self.calls = list(failures), result, 0

    def __call__(self):
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return self.result


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 17 GB)"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_out_of_memory_is_told_from_other_faults(memory, error, is_one):
    assert memory.is_out_of_memory(error) == is_one


def test_an_interrupt_is_never_one(memory, monkeypatch):
    """Not even on a host without CUDA, where every exception counts as one."""
    from comfy import model_management

    monkeypatch.setattr(model_management, "OOM_EXCEPTION", Exception)
    assert not memory.is_out_of_memory(model_management.InterruptProcessingException())


def test_no_trouble_frees_nothing(memory):
    free = Attempt()
    assert memory.free_and_retry(Attempt(result=5), what="working", free=free) == 5
    assert free.calls == 0


def test_second_attempt_runs_after_freeing(memory):
    order = []
    attempt = Attempt(MemoryError())
    result = memory.free_and_retry(
        attempt, then=lambda: order.append("then") or "in tiles", what="decoding", free=lambda: order.append("free")
    )
    assert (result, order, attempt.calls) == ("in tiles", ["free", "then"], 1)


def test_without_another_way_the_same_is_tried_again(memory):
    attempt = Attempt(MemoryError())
    assert memory.free_and_retry(attempt, what="decoding") == "done"
    assert attempt.calls == 2


def test_twice_is_one_sentence(memory, errors):
    attempt = Attempt(MemoryError(), MemoryError())
    with pytest.raises(errors.ResourceError) as told:
        memory.free_and_retry(attempt, what="decoding 121 frames", expected="at most 65 frames")
    assert str(told.value).startswith(
        "found no memory left while decoding 121 frames; expected at most 65 frames; to fix:"
    )
    assert told.value.__context__ is None  # a chained traceback would keep the attempt's tensors


def test_another_fault_passes_through_at_once(memory):
    attempt = Attempt(ValueError("other"))
    with pytest.raises(ValueError, match="other"):
        memory.free_and_retry(attempt, what="working")
    assert attempt.calls == 1


def test_a_cancel_between_the_attempts_is_honoured(memory):
    from comfy import model_management

    attempt = Attempt(MemoryError())
    with pytest.raises(model_management.InterruptProcessingException):
        memory.free_and_retry(attempt, what="working", free=model_management.interrupt_current_processing)
    assert attempt.calls == 1


def test_the_failed_attempts_tensors_are_gone_before_the_second(memory):
    alive = []

    def attempt():
        tensor = torch.zeros(8)
        alive.append(weakref.ref(tensor))
        raise MemoryError

    def then():
        gc.collect()
        return alive[0]()

    assert memory.free_and_retry(attempt, then=then, what="working") is None


def test_others_are_unloaded_and_the_worker_stays(memory):
    from comfy import model_management
    from comfy.model_patcher import ModelPatcher

    patchers = [ModelPatcher(torch.nn.Linear(4, 4), torch.device("cpu"), torch.device("cpu")) for _ in range(2)]
    model_management.load_models_gpu(patchers)
    try:
        memory.free_others([patchers[0]])
        assert [loaded.model for loaded in model_management.current_loaded_models] == [patchers[0]]
    finally:
        memory.free_everything()
    assert model_management.current_loaded_models == []
