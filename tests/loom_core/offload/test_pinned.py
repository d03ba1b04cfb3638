"""Registered memory; the driver is played where there is none."""

import pytest
import torch

from loom_core.offload.pinned import PinnedMemory, available_memory, is_room_for


class Driver:
    """Registers memory up to a limit, and knows what is registered."""

    def __init__(self, limit):
        self.limit, self.registered = limit, {}

    def cudaHostRegister(self, pointer, num_bytes, _flags):
        if sum(self.registered.values()) + num_bytes > self.limit:
            return 2
        self.registered[pointer] = num_bytes
        return 0

    def cudaHostUnregister(self, pointer):
        del self.registered[pointer]
        return 0


@pytest.fixture
def driver(monkeypatch):
    driver = Driver(limit=3000)
    monkeypatch.setattr(torch.cuda, "cudart", lambda: driver)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _device: None)
    return driver


def test_what_was_pinned_is_unpinned(driver):
    memory = PinnedMemory(torch.device("cpu"))
    buffers = [memory.new(1000), memory.new(1500)]
    assert driver.registered == {buffer.data_ptr(): buffer.nbytes for buffer in buffers}
    assert memory.num_bytes == 2500
    memory.close()
    assert driver.registered == {} and memory.num_bytes == 0
    memory.close()  # a second time does no harm


def test_what_the_system_refuses_is_told(driver):
    memory = PinnedMemory(torch.device("cpu"))
    assert memory.new(2000) is not None
    assert memory.new(2000) is None
    assert memory.num_bytes == sum(driver.registered.values()) == 2000
    memory.close()
    assert driver.registered == {}


def test_room_is_what_the_system_says(tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       32000 kB\nMemFree:   10 kB\nMemAvailable:   10000 kB\n", encoding="utf-8")
    available = available_memory(meminfo)
    assert available == 10_240_000
    assert is_room_for(8_000_000, available) and not is_room_for(9_000_000, available)
    assert available_memory(tmp_path / "none") is None and is_room_for(1 << 60, None)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_with_a_driver():
    memory = PinnedMemory(torch.device("cuda"))
    buffer = memory.new(1 << 20)
    assert buffer is not None and buffer.is_pinned()
    memory.close()
    assert not buffer.is_pinned()
