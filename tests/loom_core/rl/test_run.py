"""An RL run from its config on the procedural world: it answers, is rewarded, learns, saves, goes on, refuses."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from loom_core.config.rl import RewardSettings, read_rl_config
from loom_core.errors import ConfigError, WeightsError
from loom_core.rl.grpo import FlowGRPO
from loom_core.rl.nft import DiffusionNFT
from loom_core.rl.policy import REFERENCE_FILE, OldPolicy
from loom_core.rl.run import algorithm_of, old_policy, open_rl_trainer, plan_rl_run
from loom_core.training.checkpoint import newest_checkpoint
from loom_core.training.run import CONFIG_FILE
from loom_core.training.watch.observer import Observers
from loom_core.training.watch.run_folder import watch_run

CPU = torch.device("cpu")


def trained(config, recorder):
    config.run.mkdir(exist_ok=True)
    observers = Observers(watch_run(config.run), recorder)
    return open_rl_trainer(plan_rl_run(config), device=CPU, observer=observers).run()


def test_it_learns_saves_and_goes_on_exactly(world, training):
    recorder = training.Recorder()
    trained(world, recorder)
    reference = (world.run / REFERENCE_FILE).read_bytes()
    trained(replace(world, steps=3), recorder)
    assert [metrics.step for metrics in recorder.steps] == [1, 2, 3]
    assert (world.run / REFERENCE_FILE).read_bytes() == reference
    assert read_rl_config(world.run / CONFIG_FILE) == replace(world, steps=3)

    whole = replace(world, steps=3, run=world.run.with_name("whole"))
    other = training.Recorder()
    trained(whole, other)
    assert [metrics.measures for metrics in other.steps] == [metrics.measures for metrics in recorder.steps]
    saved, again = (load_file(newest_checkpoint(run) / "model.safetensors") for run in (world.run, whole.run))
    assert all(torch.equal(tensor, again[name]) for name, tensor in saved.items())

    rows = [json.loads(line) for line in (world.run / "metrics.jsonl").read_text().splitlines()]
    measures = [row["measures"] for row in rows if row["event"] == "step"]
    assert {"reward", "reward/world-unchanged", "reward/sharpness", "kl", "size"} <= measures[0].keys()
    assert (world.run / "curve.png").is_file()

    with pytest.raises(ConfigError, match=r"rl.kl was 0.001 and is 0.5"):
        plan_rl_run(replace(world, rl=replace(world.rl, kl=0.5)))
    (world.run / REFERENCE_FILE).unlink()
    with pytest.raises(WeightsError, match=r"rl\.kl=0"):
        trained(replace(world, steps=4), recorder)


def test_rewards_that_cannot_be_had_are_refused_before_anything_is_written(world):
    lacking = replace(world, rl=replace(world.rl, rewards=(RewardSettings(kind="pickscore"),)))
    with pytest.raises(WeightsError, match="the reward pickscore without weights"):
        plan_rl_run(lacking)
    assert not world.run.exists()


def test_the_config_names_algorithm_and_old_policy(world):
    assert isinstance(algorithm_of(world), DiffusionNFT)
    assert algorithm_of(world).plan().noise_level == 0
    drawn = algorithm_of(replace(world, rl=replace(world.rl, algorithm="grpo")))
    assert isinstance(drawn, FlowGRPO)
    assert drawn.plan().noise_level == world.rl.grpo.noise_level
    old = old_policy({"x": torch.zeros(1)}, world)
    assert isinstance(old, OldPolicy)
    assert (old.decay, old.ramp) == (0.5, 0.1)
    assert old_policy({}, replace(world, ema=0.0)) is None
