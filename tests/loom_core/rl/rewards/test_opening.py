"""Rewards by their settings."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch

from loom_core.bundle import BUILT_IN
from loom_core.config.rl import REWARD_KINDS, RewardSettings
from loom_core.errors import ConfigError, WeightsError
from loom_core.rl.rewards import opening
from loom_core.rl.rewards.clip_score import TextImageScore
from loom_core.rl.rewards.mllm_judge import MLLMJudge
from loom_core.rl.rewards.opening import check_rewards, open_rewards
from loom_core.rl.rewards.world import AsksSeen, Success


def with_rewards(config, *rewards):
    return replace(config, rl=replace(config.rl, rewards=rewards))


def opened(config, *rewards):
    return open_rewards(
        with_rewards(config, *rewards), codec=None, encoder="encoder", mllm=BUILT_IN, device=torch.device("cpu")
    )


def test_each_kind_is_opened(world, tmp_path, monkeypatch):
    monkeypatch.setattr(TextImageScore, "load", lambda path, *, is_pickscore, device: (path, is_pickscore))
    monkeypatch.setattr(MLLMJudge, "of", lambda encoder, path: (encoder, path))
    kinds = REWARD_KINDS
    rewards = [
        RewardSettings(kind=kind, weight=index + 1.0, path=tmp_path if kind in ("pickscore", "clip") else None)
        for index, kind in enumerate(kinds)
    ]
    parts = opened(world, *rewards).parts
    assert {name: weight for name, (_, weight) in parts.items()} == {
        kind: index + 1.0 for index, kind in enumerate(kinds)
    }
    assert isinstance(parts["world-success"][0], Success)
    assert isinstance(parts["world-asks"][0], AsksSeen)
    assert parts["world-success"][0].world is parts["world-asks"][0].world
    assert parts["pickscore"][0] == (tmp_path, True)
    assert parts["clip"][0] == (tmp_path, False)
    assert parts["mllm-judge"][0] == ("encoder", BUILT_IN)


def test_a_judge_of_its_own_is_loaded_from_its_path(world, monkeypatch):
    loaded = []
    monkeypatch.setattr(opening.QwenEncoder, "load", lambda path, **_: loaded.append(path) or "other")
    monkeypatch.setattr(MLLMJudge, "of", lambda encoder, path: (encoder, path))
    path = BUILT_IN / "mllm"
    assert opened(world, RewardSettings(kind="mllm-judge", path=path)).parts["mllm-judge"][0] == ("other", path)
    assert loaded == [path]


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """A module of the user's."""
    (tmp_path / "my_rewards.py").write_text(
        "class Judge:\n    def __call__(self, outcomes):\n        return len(outcomes)\n\njudge = Judge()\nlimit = 3\n"
    )
    (tmp_path / "torn_rewards.py").write_text("def torn(:")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("my_rewards", None)


def test_one_of_the_users_own_is_imported(world, own_module):
    (kind, (reward, weight)) = next(
        iter(opened(world, RewardSettings(kind="my_rewards:judge", weight=-2)).parts.items())
    )
    assert (kind, weight, reward([1, 2, 3])) == ("my_rewards:judge", -2, 3)
    check_rewards(with_rewards(world, RewardSettings(kind="my_rewards:judge")))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("my_rewards:gone", "my_rewards:gone, which cannot be imported .* no attribute 'gone'"),
        ("no_such_module:x", "No module named 'no_such_module'"),
        ("torn_rewards:x", "torn_rewards:x, which cannot be imported"),
        ("my_rewards:limit", "my_rewards:limit, which is int"),
        ("my_rewards:Judge", "my_rewards:Judge, which is a class"),
    ],
)
def test_one_of_the_users_own_that_is_none_is_told_first(world, own_module, kind, message):
    with pytest.raises(ConfigError, match=message):
        check_rewards(with_rewards(world, RewardSettings(kind=kind)))


def test_what_cannot_be_had_is_told_first(world, tmp_path):
    folder = replace(world.data.sets[0], kind="folder", path=tmp_path, options={})
    cases = [
        (with_rewards(world, RewardSettings(kind="clip")), WeightsError, "the reward clip without weights"),
        (with_rewards(world, RewardSettings(kind="mllm-judge", path=tmp_path / "x")), WeightsError, "x"),
        (
            replace(world, data=replace(world.data, sets=(folder,))),
            ConfigError,
            "a reward of the world with the folder set",
        ),
    ]
    for config, error, message in cases:
        with pytest.raises(error, match=message):
            check_rewards(config)
    check_rewards(world)
