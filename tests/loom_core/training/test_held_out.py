"""The samples that a run is measured on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from loom_core.config.data import DataSetConfig
from loom_core.config.training import ValidationSettings
from loom_core.data.sample import SampleError
from loom_core.errors import MediaError
from loom_core.training.held_out import HeldOutSamples, open_held_out, spread_indices


class Codec:
    """Latents of zeros, counted."""

    latent_channels = 48

    def __init__(self):
        self.calls = 0

    def encode(self, pixels, *, generator=None):
        self.calls += 1
        frames, height, width = pixels.shape[2:]
        return torch.zeros(1, 48, (frames - 1) // 4 + 1, height // 16, width // 16)


@pytest.fixture
def measured(config):
    options = {"count": 9, "size": [64, 64], "frames": [5], "tasks": {"text-to-image": 1.0}}
    sets = tuple(DataSetConfig(kind="world", name=name, options=options) for name in ("a", "b"))
    return replace(config, validation=ValidationSettings(sets=sets, samples=3))


@pytest.mark.parametrize(("length", "count", "indices"), [(9, 3, [0, 3, 6]), (2, 5, [0, 1]), (10, 4, [0, 2, 5, 7])])
def test_indices_are_spread_evenly(length, count, indices):
    assert spread_indices(length, count) == indices


def test_they_are_the_same_each_time_and_encoded_once(measured):
    codec = Codec()
    samples = HeldOutSamples(measured, open_held_out(measured), codec)
    first, again = list(samples), list(samples)
    assert len(first) == 6
    assert codec.calls == 6
    assert [sample.seed for sample in first] == [sample.seed for sample in again]
    assert len({sample.seed for sample in first}) == 6
    other_run = list(HeldOutSamples(replace(measured, seed=99), open_held_out(measured), Codec()))
    assert [sample.seed for sample in other_run] == [sample.seed for sample in first], "whatever the run's own seed"


class Broken:
    """A set of which some samples cannot be used."""

    name, fingerprint = "broken", "x"

    def __init__(self, good):
        self.good = good

    def __len__(self):
        return 3

    def load(self, index, *, generator):
        if index in self.good:
            return self.good[index]
        raise SampleError(f"sample {index}", "broken file")


def test_bad_ones_are_left_out(measured, caplog):
    from loom_core.data.framing import Framing
    from loom_core.data.opening import open_source

    good = open_source(measured.validation.sets[0], Framing.of(measured.data), max_bad_share=0.0)
    sample = good.load(0, generator=torch.Generator())
    sources = [Broken({1: sample}), Broken({1: sample})]
    assert len(list(HeldOutSamples(measured, sources, Codec()))) == 2  # one of each of the two sets
    assert "sample 0: broken file" in caplog.text


def test_none_at_all_is_an_error(measured):
    with pytest.raises(MediaError, match="no validation sample that can be used"):
        list(HeldOutSamples(measured, [Broken({})], Codec()))


def test_sets_are_opened_only_by_a_run_that_measures(measured):
    assert [source.name for source in open_held_out(measured)] == ["a", "b"]
    assert open_held_out(replace(measured, validation=replace(measured.validation, every=0))) == ()
