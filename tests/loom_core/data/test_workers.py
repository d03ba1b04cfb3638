"""An end of a decoding process from outside is recognised."""

from __future__ import annotations

import os
import signal

import pytest
from torch.utils.data import DataLoader, Dataset

from loom_core.data.workers import ended_worker


class EndsItself(Dataset):
    def __init__(self, number):
        self.number = number

    def __len__(self):
        return 3

    def __getitem__(self, index):
        if self.number is None:
            os._exit(1)
        os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", [signal.SIGKILL, None])
def test_torchs_own_words_are_understood(number):
    with pytest.raises(RuntimeError) as caught:
        next(iter(DataLoader(EndsItself(number), batch_size=None, num_workers=1)))
    error = ended_worker(caught.value)
    assert error is not None
    assert "fewer workers" in str(error)


def test_other_errors_are_not_taken_for_it():
    assert ended_worker(RuntimeError("CUDA error: an illegal memory access")) is None
    assert ended_worker(RuntimeError("DataLoader worker 0: Caught ValueError")) is None
