"""RL rounds as steps of a run: the reward rises, a run goes on exactly, and what must end it does."""

from __future__ import annotations

import math
import signal
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from loom_core.config.rl import GRPOSettings, NFTSettings, RolloutSettings, StopSettings
from loom_core.config.training import CheckpointSettings, OptimiserSettings
from loom_core.errors import TrainingError
from loom_core.rl.learner import Learner
from loom_core.rl.policy import Policy
from loom_core.rl.rewards.base import RewardSum
from loom_core.rl.run import algorithm_of, old_policy
from loom_core.rl.trainer import RLTrainer
from loom_core.training.checkpoint import RNG_FILE, RunState, load_checkpoint, newest_checkpoint
from loom_core.training.optimiser import Optimiser
from loom_core.training.starting import starting_model


def brightness(outcomes):
    """The mean of the first channel."""
    return torch.stack([outcome.latents[0].mean() for outcome in outcomes])


@pytest.fixture
def make_trainer(training, outcomes_of):
    def make(config, *, reward=brightness, checkpoint=None, observer=None, model=None):
        model = model or starting_model(config)
        optimiser = Optimiser(model, config.optimiser)
        old = old_policy(optimiser.weights, config)
        state = RunState()
        if checkpoint is not None:
            state = load_checkpoint(checkpoint, model=model, optimiser=optimiser, ema=old)
        objective = training.build_objective(model)
        learner = Learner(
            Policy(model, objective.velocities, old),
            algorithm_of(config),
            RewardSum({"brightness": (reward, 1.0)}),
            outcomes_of,
            settings=config.rl,
            token_budget=config.data.token_budget,
        )
        packs = training.MemoryPacks(seed=config.seed, position=state.data.get("0", {}).get("position", 0))
        return RLTrainer(
            config,
            learner=learner,
            model=model,
            optimiser=optimiser,
            ema=old,
            packs=packs,
            objective=objective,
            state=state,
            observer=observer or training.Recorder(),
        )

    return make


@pytest.mark.parametrize("algorithm", ["nft", "grpo"])
def test_the_reward_rises(config, make_trainer, recorder, algorithm):
    rollout = RolloutSettings(group_size=6, num_inference_steps=3, shift=1.0)
    rl = replace(
        config.rl, algorithm=algorithm, rollout=rollout, updates=2, nft=NFTSettings(beta=1.0, levels_per_answer=1),
        grpo=GRPOSettings(clip=0.2), stops=StopSettings(least_diversity=0, most_growth=0),
    )  # fmt: skip
    config = replace(config, steps=15, rl=rl, optimiser=OptimiserSettings(lr=5e-3, warmup=0))
    make_trainer(config, observer=recorder).run()
    rewards = [metrics.measures["reward"] for metrics in recorder.steps]
    assert sum(rewards[-4:]) / 4 > sum(rewards[:4]) / 4 + 0.02


@pytest.fixture
def recorder(training):
    return training.Recorder()


def test_metrics_tell_of_a_round(config, make_trainer, recorder):
    trainer = make_trainer(replace(config, steps=2, rl=replace(config.rl, updates=2)), observer=recorder)
    about = trainer.about()
    assert list(about.settings)[:3] == ["algorithm", "rewards", "old policy"]
    assert about.settings["rewards"] == "1 x sharpness"
    state = trainer.run()
    first, second = recorder.steps
    assert (first.step, second.step, first.steps, first.samples) == (1, 2, 2, 8)
    assert {
        "reward", "reward/brightness", "reward_spread", "groups_without_contrast", "kl", "contrast", "deviation",
        "diversity", "size", "old_kept",
    } <= first.measures.keys()  # fmt: skip
    assert first.headline == ("reward", first.measures["reward"])
    assert first.measures["contrast"] > 0  # the second update of the round is one
    assert (state.step, state.samples, state.ema_updates) == (2, 16, 2)


def test_a_run_goes_on_exactly_where_it_was(config, make_trainer):
    config = replace(config, steps=4, checkpoint=CheckpointSettings(every=2))
    make_trainer(config).run()
    whole = {path.name: load_file(path) for path in newest_checkpoint(config.run).glob("*.safetensors")}
    other = replace(config, run=config.run.with_name("other"))
    make_trainer(replace(other, steps=2)).run()
    state = make_trainer(other, checkpoint=newest_checkpoint(other.run)).run()
    assert len(state.extra["stops"]["first"]["reward"]) == 4
    parts = {path.name: load_file(path) for path in newest_checkpoint(other.run).glob("*.safetensors")}
    assert {"model.safetensors", "ema.safetensors", "optimiser.safetensors"} <= whole.keys() == parts.keys()
    for name in whole.keys() - {RNG_FILE}:  # making a model draws from torch's generator, which a run seeds first
        assert all(torch.equal(tensor, parts[name][key]) for key, tensor in whole[name].items()), name


def test_zero_contrast_is_told_and_changes_nothing(config, make_trainer, recorder):
    trainer = make_trainer(
        replace(config, steps=1), reward=lambda outcomes: torch.ones(len(outcomes)), observer=recorder
    )
    before = {name: weight.clone() for name, weight in trainer.optimiser.weights.items()}
    trainer.run()
    assert recorder.notes == ["round 1: zero contrast, all answers to each prompt have the same reward"]
    assert recorder.steps[0].measures["groups_without_contrast"] == 1
    assert all(torch.equal(weight, before[name]) for name, weight in trainer.optimiser.weights.items())


def test_corrections_are_learned_from_without_contrast(config, make_trainer, recorder):
    config = replace(config, steps=1, rl=replace(config.rl, corrections=1.0))
    trainer = make_trainer(config, reward=lambda outcomes: torch.ones(len(outcomes)), observer=recorder)
    before = {name: weight.clone() for name, weight in trainer.optimiser.weights.items()}
    trainer.run()
    (note,) = recorder.notes
    assert note.endswith("all answers to each prompt have the same reward; only corrections were learned from")
    assert recorder.steps[0].measures["correction"] > 0
    assert not all(torch.equal(weight, before[name]) for name, weight in trainer.optimiser.weights.items())


def test_a_policy_that_does_not_move_is_told(config, make_trainer, recorder):
    config = replace(config, steps=1, rl=replace(config.rl, updates=2), optimiser=OptimiserSettings(lr=1e-30, warmup=0))
    make_trainer(config, observer=recorder).run()
    assert recorder.notes == ["round 1: zero contrast, the policy is still the old one after its updates"]


def test_a_reward_that_is_no_number_ends_the_run_at_the_last_whole_round(config, make_trainer, recorder):
    calls = []

    def sometimes(outcomes):
        calls.append(len(outcomes))
        return brightness(outcomes) * (math.nan if len(calls) == 2 else 1)

    with pytest.raises(TrainingError, match=r"the reward brightness, which gave nan for an answer to sample \d"):
        make_trainer(config, reward=sometimes, observer=recorder).run()
    assert newest_checkpoint(config.run).name == "step-000001"
    assert [metrics.step for metrics in recorder.steps] == [1]
    assert recorder.is_closed


def test_a_run_is_stopped_when_its_answers_become_one(config, make_trainer, recorder):
    """Stood in for by limits that the first rounds already break."""
    stops = StopSettings(first_rounds=1, last_rounds=1, most_growth=1 + 1e-9, least_diversity=0.999999)
    config = replace(config, rl=replace(config.rl, stops=stops), optimiser=OptimiserSettings(lr=0.05, warmup=0))
    with pytest.raises(TrainingError, match=r"after round \d: (all answers|clean latents)") as caught:
        make_trainer(config, observer=recorder).run()
    last = recorder.steps[-1].step
    assert f"after round {last}" in str(caught.value)
    assert newest_checkpoint(config.run).name == f"step-{last:06d}"


def test_updates_that_are_not_finite_are_left_out(config, make_trainer, recorder):
    config = replace(config, most_skipped_steps=2)
    trainer = make_trainer(config, observer=recorder)
    trainer.optimiser.clip_gradients = lambda: math.inf
    before = {name: weight.clone() for name, weight in trainer.optimiser.weights.items()}
    with pytest.raises(TrainingError, match="2 steps in a row"):
        trainer.run()
    assert all(torch.equal(weight, before[name]) for name, weight in trainer.optimiser.weights.items())
    assert recorder.notes[0].startswith("step 1 left out")


def test_a_stop_gives_up_the_round_that_is_being_answered_and_saves_the_one_before(config, make_trainer, recorder):
    def sometimes(outcomes):
        if len(recorder.steps) == 1:
            signal.raise_signal(signal.SIGTERM)
        return brightness(outcomes)

    config = replace(config, checkpoint=CheckpointSettings(every=100))
    whole = make_trainer(replace(config, run=config.run.with_name("whole")))
    whole.run()
    trainer = make_trainer(config, reward=sometimes, observer=recorder)
    assert trainer.run().step == 2  # it came too late for the second round, which is whole
    assert trainer.stopped_by == signal.SIGTERM
    stopped = make_trainer(config, checkpoint=newest_checkpoint(config.run), observer=recorder)
    answer = stopped.learner.policy.velocities
    stopped.learner.policy = replace(
        stopped.learner.policy,
        velocities=lambda *given, **how: signal.raise_signal(signal.SIGTERM) or answer(*given, **how),
    )
    assert stopped.run().step == 2
    assert [metrics.step for metrics in recorder.steps] == [1, 2]
    make_trainer(config, checkpoint=newest_checkpoint(config.run), observer=recorder).run()
    saved, expected = (
        load_file(newest_checkpoint(run) / "model.safetensors") for run in (config.run, whole.config.run)
    )
    assert all(torch.equal(weight, expected[name]) for name, weight in saved.items())


def test_on_policy_runs_have_no_second_set_of_weights(config, make_trainer):
    trainer = make_trainer(replace(config, steps=2, ema=0.0))
    assert trainer.ema is None
    trainer.run()
    assert not (newest_checkpoint(config.run) / "ema.safetensors").exists()
