"""Rewards of the world: a right answer earns all, one that ignores the request little, found by a sample's key."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from loom_core.config.data import DataConfig, DataSetConfig
from loom_core.data.encoding import encode_sample
from loom_core.data.world.edits import EDITS
from loom_core.data.world.source import world_source
from loom_core.errors import ConfigError, TrainingError
from loom_core.rl.rewards import world as module
from loom_core.rl.rewards.base import Outcome
from loom_core.rl.rewards.world import AsksSeen, Success, Unchanged, WorldKnowledge

EDIT = {name: float(name == "recolour") for name in EDITS}
OPTIONS = {
    "seed": 4, "count": 9, "size": [64, 64], "frames": [5], "tasks": {"edit-video": 1.0}, "edits": EDIT,
}  # fmt: skip


class Codec:
    def encode(self, pixels, *, generator=None):
        return torch.zeros(len(pixels), 1, 2, 4, 4)


def data_of(*options):
    sets = [DataSetConfig(kind="world", name=f"world {index}", options=each) for index, each in enumerate(options)]
    return DataConfig(sets=tuple(sets), sizes=((64, 64),))


@pytest.fixture
def sample():
    return world_source(OPTIONS).load(3, generator=torch.Generator())


@pytest.fixture
def data():
    return data_of(OPTIONS, {"split": "held-out"})


def outcome_of(sample, frames):
    encoded = encode_sample(sample, Codec())
    return Outcome(sample=encoded, frames=frames, truth=frames, latents=encoded.target, source=sample.source.frames)


def test_right_and_wrong_answers(sample, data):
    world = WorldKnowledge(data, codec=None)
    right, ignored = sample.target.frames, sample.source.frames
    outcomes = [outcome_of(sample, frames) for frames in (right, ignored, 255 - right)]
    assert Success(world)(outcomes).tolist() == [1, 0, 0]
    assert AsksSeen(world)(outcomes).tolist() == [1, 0, 0]
    unchanged = Unchanged(world)(outcomes).tolist()
    assert unchanged[:2] == [1, 1]
    assert unchanged[2] < 0.3


def test_an_answer_is_judged_once(sample, data, monkeypatch):
    world, calls = WorldKnowledge(data, codec=None), []
    real = module.judge
    monkeypatch.setattr(module, "judge", lambda *args, **kwargs: calls.append(1) or real(*args, **kwargs))
    outcomes = [outcome_of(sample, sample.target.frames) for _ in range(2)]
    Success(world)(outcomes)
    AsksSeen(world)(outcomes)
    assert len(calls) == 2


def test_samples_of_other_worlds(sample, data):
    world = WorldKnowledge(data, codec=None)
    outcome = outcome_of(sample, sample.target.frames)
    for key, message in (("train-5-3", "of no world of this run"), ("cat.mp4", "of no world"), ("train-4-2", "asks")):
        other = replace(outcome, sample=replace(outcome.sample, key=key))
        with pytest.raises(TrainingError, match=message):
            Success(world)([other])


def test_sets_that_do_not_tell_their_world():
    with pytest.raises(ConfigError, match="two worlds of the seed 4"):
        WorldKnowledge(data_of({"seed": 4}, {"seed": 4, "frames": [5]}), codec=None)
    folder = DataConfig(
        sets=(DataSetConfig(kind="folder", path=Path("x"), tasks=("text-to-image",)),), sizes=((64, 64),)
    )
    with pytest.raises(ConfigError, match="with the folder set x"):
        WorldKnowledge(folder, codec=None)
