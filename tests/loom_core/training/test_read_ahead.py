"""Packs made ahead by a second process: the same ones, in order; errors and the end reach the one who asks."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import time
from itertools import count

import pytest
import torch

from loom_core.data.packing import Pack
from loom_core.data.problems import BadSample, BadSamplesError
from loom_core.data.sample import EncodedSample
from loom_core.data.tasks import training_task
from loom_core.errors import ConfigError, MediaError, ResourceError
from loom_core.training.read_ahead import ReadAhead, check_possible, packed
from loom_core.types import Clip, Condition

pytestmark = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="reads ahead only where processes can fork"
)


def sample(number):
    picture = Clip(torch.zeros(1, 32, 32, 3, dtype=torch.uint8), 0.0, is_image=True)
    return EncodedSample(
        key=f"sample {number}",
        task=training_task("edit-image"),
        instruction="turn it",
        target=torch.full((2, 1, 2, 2), float(number)),
        source=torch.full((2, 1, 2, 2), -1.0, dtype=torch.bfloat16),
        mllm_source=picture,
        seed=number,
    )


def packs(*, broken_at=None):
    for number in count():
        if number == broken_at:
            raise MediaError("9 of 10 samples", expected="fewer", fix="mend them")
        yield Pack((sample(number),), tokens=number, state={"next": number + 1})


def prepare(samples):
    return [Condition((torch.tensor([[each.seed, os.getpid()]]),)) for each in samples]


@pytest.fixture
def made():
    """Makes readers that are closed at the end; what they hand on is kept in `.accepted`."""
    readers = []

    def make(source, **options):
        accepted = []
        reader = ReadAhead(source, prepare=prepare, accept=lambda *pair: accepted.append(pair), **options)
        reader.accepted = accepted
        readers.append(reader)
        return reader

    yield make
    for reader in readers:
        reader.close()


def test_packs_come_in_order_with_what_was_prepared_elsewhere(made):
    reader = made(packs(), depth=2)
    taken = [next(reader) for _ in range(12)]
    assert [pack.tokens for pack in taken] == list(range(12))
    assert [pack.state for pack in taken] == [{"next": number + 1} for number in range(12)]
    for number, (pack, (samples, (condition,))) in enumerate(zip(taken, reader.accepted, strict=True)):
        assert samples is pack.samples
        (states,) = condition.mllm_hidden_states
        assert states[0, 0] == number
        assert states[0, 1] != os.getpid()
        (got,) = pack.samples
        assert torch.equal(got.target, sample(number).target)
        assert got.source.dtype == torch.bfloat16
        assert got.mllm_source is None  # the MLLM has seen it


def test_no_more_is_made_than_may_wait(made, tmp_path):
    def counted():
        for pack in packs():
            (tmp_path / str(pack.tokens)).touch()
            yield pack

    reader = made(counted(), depth=2)
    next(reader)
    time.sleep(0.5)
    assert len(list(tmp_path.iterdir())) <= 3  # the one that was taken and the two that wait


def test_an_error_is_raised_where_the_pack_is_asked_for_and_stays(made):
    reader = made(packs(broken_at=2))
    assert [next(reader).tokens for _ in range(2)] == [0, 1]
    for _ in range(2):
        with pytest.raises(MediaError, match="found 9 of 10 samples; expected fewer; to fix: mend them") as caught:
            next(reader)
        assert caught.value.fix == "mend them"


def test_a_process_that_was_ended_is_told(made):
    reader = made(packs())
    next(reader)
    os.kill(reader._process.pid, signal.SIGKILL)
    reader._process.join()
    with pytest.raises(ResourceError, match="ended from outside"):
        while True:  # what was sent before may still be read
            next(reader)


def test_the_process_ends_when_it_is_closed(made):
    reader = made(packs())
    next(reader)
    reader.close()
    assert not reader._process.is_alive()
    assert reader._process.exitcode == 0


def test_closing_before_the_first_pack_starts_nothing():
    reader = ReadAhead(packs(), prepare=prepare, accept=lambda *_: None)
    reader.close()
    assert reader._process is None


def test_tensors_travel_by_value():
    values = {
        "a": torch.arange(6, dtype=torch.int64).view(2, 3),
        "b": torch.randn(3, 2).bfloat16().t(),
        "c": torch.zeros(0),
    }
    back = pickle.loads(packed(values))
    for name, value in values.items():
        assert torch.equal(back[name], value)
        assert back[name].dtype == value.dtype


def test_only_on_a_cpu():
    check_possible(torch.device("cpu"))
    with pytest.raises(ConfigError, match="read_ahead on cuda"):
        check_possible(torch.device("cuda"))


def test_what_was_left_out_comes_with_a_pack_and_with_the_error_that_ends_it(made):
    first, second = BadSample("cats", "a.png", "unreadable"), BadSample("cats", "b.png", "unreadable")

    def failing():
        yield Pack((sample(0),), tokens=0, left_out=(first,))
        raise BadSamplesError("2 of 3 samples", expected="fewer", fix="mend them", left_out=(second,))

    reader = made(failing())
    assert next(reader).left_out == (first,)
    with pytest.raises(BadSamplesError, match="found 2 of 3 samples") as caught:
        next(reader)
    assert caught.value.left_out == (second,)
