"""RL settings: what the shipped configs say, and what makes no sense."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from loom_core.config.data import DataConfig, DataSetConfig
from loom_core.config.reading import flatten, to_yaml
from loom_core.config.rl import (
    GRPOSettings,
    NFTSettings,
    RewardSettings,
    RLConfig,
    RLSettings,
    RolloutSettings,
    StopSettings,
    read_rl_config,
)
from loom_core.config.training import LoraSettings, changed_settings, read_training_config
from loom_core.errors import ConfigError

REWARDS = (RewardSettings(kind="sharpness"),)


@pytest.fixture
def config():
    data = DataConfig(sets=(DataSetConfig(kind="world"),), sizes=((64, 64),))
    return RLConfig(name="rl", run=Path("runs/rl"), steps=3, data=data, rl=RLSettings(rewards=REWARDS))


def test_the_command_for_a_config_is_named(repo_root):
    configs = repo_root / "configs" / "training"
    with pytest.raises(ConfigError, match=r"stage3.yaml, which says nothing of rl.*loom_core\.cli\.train"):
        read_rl_config(configs / "stage3.yaml")
    with pytest.raises(ConfigError, match=r"rl.yaml, which describes an RL run.*loom_core\.cli\.rl"):
        read_training_config(configs / "rl.yaml")


@pytest.mark.parametrize("name", ["rl.yaml", "tiny/rl.yaml"])
def test_shipped_configs_can_be_read(repo_root, name):
    config = read_rl_config(repo_root / "configs" / "training" / name)
    assert config.rl.algorithm == "nft"
    assert config.ema == 0.5
    assert config.data.max_samples_per_pack
    kinds = {reward.kind for reward in config.rl.rewards}
    assert {"motion", "sharpness"} <= kinds or all(kind.startswith("world-") for kind in kinds)
    assert config.rl.stops.least_motion and config.rl.stops.least_sharpness


def test_a_config_written_out_is_the_same_config(config, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    assert read_rl_config(path) == config


def test_a_run_that_goes_on_may_change_its_stops_and_nothing_else_of_rl(config):
    before = flatten(config)
    looser = replace(config, rl=replace(config.rl, stops=StopSettings(least_motion=0.2)))
    assert changed_settings(before, looser) == {}
    other = replace(config, rl=replace(config.rl, kl=0.5, rewards=(RewardSettings(kind="motion"),)))
    assert set(changed_settings(before, other)) == {"rl.kl", "rl.rewards.0.kind"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RewardSettings(kind="motion", weight=0), "weight 0"),
        (lambda: RewardSettings(kind="motion", path=Path("x")), "path of the reward motion"),
        (lambda: RewardSettings(kind="mine:of", path=Path("x")), "path of the reward mine:of"),
        (lambda: RewardSettings(kind="mine of:x"), "the reward 'mine of:x'"),
        (lambda: RolloutSettings(group_size=1), "group_size 1"),
        (lambda: RolloutSettings(group_size=2, has_target=True), "group_size 2"),
        (lambda: RolloutSettings(num_inference_steps=1), "num_inference_steps 1"),
        (lambda: RolloutSettings(guidance_scale=-1), "guidance_scale -1"),
        (lambda: NFTSettings(beta=0), "beta 0"),
        (lambda: NFTSettings(levels_per_answer=0), "levels_per_answer 0"),
        (lambda: GRPOSettings(noise_level=0), "noise_level 0"),
        (lambda: GRPOSettings(clip=float("inf")), "clip inf"),
        (lambda: StopSettings(least_diversity=1.0), "least_diversity 1.0"),
        (lambda: StopSettings(most_growth=0.5), "most_growth 0.5"),
        (lambda: RLSettings(rewards=()), "no rewards"),
        (lambda: RLSettings(rewards=REWARDS * 2), "the reward sharpness twice"),
        (lambda: RLSettings(rewards=REWARDS, kl=-1), "kl -1"),
        (lambda: RLSettings(rewards=REWARDS, updates=0), "updates 0"),
        (
            lambda: RLSettings(rewards=REWARDS, algorithm="grpo", rollout=RolloutSettings(guidance_scale=2.0)),
            "guidance with Flow-GRPO",
        ),
        (
            lambda: RLSettings(rewards=REWARDS, algorithm="grpo", rollout=RolloutSettings(has_target=True)),
            "targets among the answers with Flow-GRPO",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"read_ahead": 1}, "read_ahead 1 in an RL run; expected 0"),
        ({"noise_draws": 2}, "noise_draws 2 in an RL run; expected 1: rl.nft.levels_per_answer"),
        ({"lora": LoraSettings(dropout=0.1), "starts_from": Path("x")}, "lora.dropout 0.1"),
        ({"data": {"dropout_text": 0.1}}, "data.dropout_text 0.1"),
        ({"data": {"cache": Path("x")}, "prompt_cache": Path("y"), "rollout": {"guidance_scale": 2.0}}, "are guided"),
    ],
)
def test_settings_of_training_that_have_no_meaning_are_refused(config, changes, message):
    changes = dict(changes)
    data = replace(config.data, **changes.pop("data", {}))
    rl = replace(config.rl, rollout=replace(config.rl.rollout, **changes.pop("rollout", {})))
    with pytest.raises(ConfigError, match=message):
        replace(config, data=data, rl=rl, **changes)


def test_a_new_lora_starts_at_its_base(config):
    assert not config.starts_at_base
    lora = replace(config, lora=LoraSettings(), starts_from=Path("base"))
    assert lora.starts_at_base
    assert not replace(lora, lora=LoraSettings(starts_from=Path("some_lora.safetensors"))).starts_at_base
