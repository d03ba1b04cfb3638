"""The world as a set of samples: counted, picklable, the same at every call; its fingerprint tells worlds apart."""

from __future__ import annotations

import pickle

import pytest
import torch

from loom_core.data.sample import SampleFacts
from loom_core.data.world.samples import WorldSettings, make_sample
from loom_core.data.world.source import DEFAULT_COUNT, WorldSource, world_source
from loom_core.errors import ConfigError

OPTIONS = {"count": 5, "seed": 3, "frames": [1, 5], "size": [64, 64], "tasks": {"edit-video": 2, "text-to-image": 1.0}}


def test_from_plain_values():
    source = world_source(OPTIONS, name="shapes")
    assert (len(source), source.name) == (5, "shapes")
    assert source.settings == WorldSettings(
        seed=3, frames=(1, 5), size=(64, 64), tasks={"edit-video": 2.0, "text-to-image": 1.0}
    )
    assert len(world_source({})) == DEFAULT_COUNT


def test_loads_the_samples_of_the_world_whatever_the_generator():
    source = pickle.loads(pickle.dumps(world_source(OPTIONS)))
    for index in range(2):
        one = source.load(index, generator=torch.Generator().manual_seed(1))
        other = make_sample(index, source.settings).sample
        assert one.key == other.key
        assert torch.equal(one.target.frames, other.target.frames)


@pytest.mark.parametrize("change", [{"seed": 4}, {"split": "held-out"}, {"frames": [5]}, {"edits": {"keep": 0.0}}])
def test_the_fingerprint_tells_worlds_apart(change):
    assert world_source(OPTIONS | change).fingerprint != world_source(OPTIONS).fingerprint


def test_worlds_with_clips_of_one_frame_are_newer_than_the_others(monkeypatch):
    """Caches of the others go on to serve."""
    mixed, longer = OPTIONS, OPTIONS | {"frames": [5, 9]}
    before = [world_source(options).fingerprint for options in (mixed, longer)]
    monkeypatch.setattr("loom_core.data.world.source.ONE_FRAME_VERSION", -1)
    after = [world_source(options).fingerprint for options in (mixed, longer)]
    assert [one == other for one, other in zip(before, after, strict=True)] == [False, True]


def test_the_fingerprint_does_not_depend_on_how_many_there_are():
    assert world_source(OPTIONS | {"count": 9}).fingerprint == world_source(OPTIONS).fingerprint


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"count": 0}, "0 samples"),
        ({"count": "many"}, "'many'"),
        ({"sede": 1}, "sede"),
        ({"split": "test"}, "'test'"),
        ({"tasks": {"edit-vidoe": 1.0}}, "edit-vidoe"),
        ({"frames": "nine"}, "nine"),
    ],
)
def test_wrong_options_are_refused(options, found):
    with pytest.raises(ConfigError, match=found):
        world_source(options)


def test_a_sample_is_never_cut_so_that_a_cache_keeps_it_once():
    source = world_source(OPTIONS)
    assert source.describe(1) == SampleFacts(f"{source.fingerprint} 1", has_variants=False)
    others = [source.describe(2), world_source(OPTIONS | {"seed": 4}).describe(1)]
    assert source.describe(1) not in others


def test_there_is_nothing_beyond_the_end():
    source = WorldSource(WorldSettings(), count=2)
    with pytest.raises(IndexError):
        source.load(2, generator=torch.Generator())
    with pytest.raises(IndexError):
        source.describe(2)
