"""Freed, tried again, told in one sentence; on a stand-in for the host's memory management."""

from __future__ import annotations

import pytest
import torch


class Interrupted(Exception):  # noqa: N818 - the host's own is called so
    """The host's exception for a cancelled prompt."""


@pytest.fixture
def memory(stand_in, monkeypatch):
    module = stand_in("nodes.adapter.memory")
    freed = []
    host = {
        "InterruptProcessingException": Interrupted,
        "is_oom": lambda error: isinstance(error, torch.OutOfMemoryError),
        "unload_all_models": lambda: freed.append("models"),
        "soft_empty_cache": lambda: freed.append("cache"),
        "throw_exception_if_processing_interrupted": lambda: None,
    }
    for name, value in host.items():
        monkeypatch.setattr(module.model_management, name, value, raising=False)
    module.freed = freed
    return module


def failing(*errors):
    left = list(errors)

    def attempt():
        if left:
            raise left.pop(0)
        return "done"

    return attempt


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("shapes cannot be multiplied"), False),
        (Interrupted(), False),
    ],
)
def test_out_of_memory_is_told_from_other_faults(memory, error, is_one):
    assert memory.is_out_of_memory(error) == is_one


def test_freed_and_tried_again(memory):
    assert memory.free_and_retry(failing(MemoryError()), what="decoding") == "done"
    assert memory.freed == ["models", "cache"]


def test_another_way_the_second_time(memory):
    assert memory.free_and_retry(failing(MemoryError()), then=lambda: "in tiles", what="decoding") == "in tiles"


def test_twice_is_one_sentence(memory, stand_in):
    with pytest.raises(stand_in("loom_core.errors").ResourceError, match="no memory left while decoding; expected 9"):
        memory.free_and_retry(failing(MemoryError(), MemoryError()), what="decoding", expected=lambda: "9 frames")


def test_other_faults_pass(memory):
    with pytest.raises(ValueError, match="other"):
        memory.free_and_retry(failing(ValueError("other")), what="decoding")
    assert memory.freed == []
