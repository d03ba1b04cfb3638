"""Signals between two steps."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from loom_core.training.interruption import StopRequest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_is_noted(number):
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert not stop.is_asked()
        os.kill(os.getpid(), number)
        assert stop.is_asked()
        assert stop.signal is number
    assert signal.getsignal(number) is before


def test_a_second_interrupt_interrupts():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), StopRequest():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_another_thread_may_train_as_well():
    seen = []

    def train():
        with StopRequest() as stop:
            seen.append(stop.signal)

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert seen == [None]


def test_another_way_to_ask_than_a_signal():
    answer = []
    with StopRequest(lambda: bool(answer)) as stop:
        assert not stop.is_asked()
        answer.append(True)
        assert stop.is_asked()
        assert stop.signal is None
