"""What orders copies and computing; the streams of a GPU are played by a row of events where there is none."""

import pytest
import torch

from loom_core.offload import transfer as module
from loom_core.offload.transfer import CudaTransfer, PlainTransfer, transfer_to


def test_plain_copies_are_done_at_once():
    slot, source = torch.zeros(4), torch.arange(4.0)
    plain = transfer_to(torch.device("cpu"), num_slots=2)
    assert isinstance(plain, PlainTransfer)
    plain.fetch(0, [(slot, source)])
    assert torch.equal(slot, source)


class Clock:
    """Two streams that write down what they were given, in order."""

    def __init__(self):
        self.order = []

    def event(self):
        clock, number = self, len([entry for entry in self.order if entry[0] == "event"])
        self.order.append(("event", number))

        class Event:
            def __init__(self):
                self.number = number

            def record(self, stream):
                clock.order.append((stream.name, "records", self.number))

        return Event()

    def stream(self, name):
        clock = self

        class Stream:
            def __init__(self):
                self.name = name

            def wait_event(self, event):
                clock.order.append((self.name, "waits for", event.number))

            def wait_stream(self, other):
                clock.order.append((self.name, "waits for all of", other.name))

            def synchronize(self):
                clock.order.append((self.name, "is waited for"))

            def __enter__(self):
                clock.order.append((self.name, "begins"))

            def __exit__(self, *_):
                clock.order.append((self.name, "ends"))

        return Stream()


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    computing = clock.stream("computing")
    monkeypatch.setattr(torch.cuda, "Stream", lambda _device: clock.stream("copying"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _device: computing)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: stream)
    monkeypatch.setattr(torch.cuda, "Event", clock.event)
    return clock


def test_a_slot_is_read_after_it_was_filled_and_filled_after_it_was_read(clock):
    transfer = transfer_to(torch.device("cuda"), num_slots=2)
    assert isinstance(transfer, CudaTransfer)
    filled, read = (0, 1), (2, 3)  # events of the two slots, in the order in which they are made
    assert clock.order[0] == ("copying", "waits for all of", "computing")  # who may still read that memory
    del clock.order[:]
    slot, source = torch.zeros(2), torch.ones(2)
    transfer.fetch(1, [(slot, source)])
    transfer.wait(1)
    transfer.done(1)
    transfer.close()
    assert clock.order == [
        ("copying", "waits for", read[1]),
        ("copying", "begins"),
        ("copying", "ends"),
        ("copying", "records", filled[1]),
        ("computing", "waits for", filled[1]),
        ("computing", "records", read[1]),
        ("copying", "is waited for"),
        ("computing", "is waited for"),
    ]
    assert torch.equal(slot, source)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_copies_of_a_gpu_arrive():
    device = torch.device("cuda")
    slots = [torch.zeros(1 << 20, device=device) for _ in range(2)]
    transfer = module.transfer_to(device, num_slots=2)
    sums = []
    for turn in range(8):
        transfer.fetch(turn % 2, [(slots[turn % 2], torch.full((1 << 20,), float(turn)).pin_memory())])
        transfer.wait(turn % 2)
        sums.append(slots[turn % 2].mean())
        transfer.done(turn % 2)
    transfer.close()
    assert [float(total) for total in sums] == list(range(8))
