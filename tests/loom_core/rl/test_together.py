"""Several processes share a round: they run in step, fail together, and learn what one process learns."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from safetensors.torch import load_file

from loom_core.config.training import CheckpointSettings, OptimiserSettings
from loom_core.errors import RankError, TrainingError
from loom_core.rl.learner import Learner
from loom_core.rl.policy import Policy, keep_reference, read_reference
from loom_core.rl.rewards.base import RewardSum
from loom_core.rl.run import algorithm_of, old_policy
from loom_core.rl.together import FailedTogetherError, added, in_step, on_all
from loom_core.rl.trainer import RLTrainer
from loom_core.training.checkpoint import RunState, newest_checkpoint
from loom_core.training.optimiser import Optimiser
from loom_core.training.ranks import OneRank
from loom_core.training.starting import starting_model


class WithOther:
    """Two ranks, of which the other one says what it is told to."""

    rank, size = 0, 2

    def __init__(self, other):
        self.other = other

    def gather(self, value):
        return [value, self.other]


def test_a_rank_with_less_waits_with_nothing():
    assert list(in_step("ab", OneRank())) == ["a", "b"]
    assert list(in_step("ab", WithOther(3))) == ["a", "b", None]
    assert list(in_step("", WithOther(1))) == [None]
    assert list(in_step("ab", WithOther(1))) == ["a", "b"]


def test_what_fails_on_a_rank_fails_on_all():
    assert on_all(lambda: 3, WithOther(None)) == 3
    with pytest.raises(FailedTogetherError) as caught:
        on_all(lambda: 3, WithOther("no number"))
    assert isinstance(caught.value.reason, RankError)
    assert "rank 1, which cannot go on: no number" in str(caught.value.reason)
    with pytest.raises(FailedTogetherError) as caught:
        on_all(lambda: 1 // 0, WithOther(None))
    assert isinstance(caught.value.reason, ZeroDivisionError)


def test_sums_of_unlike_names():
    assert added({"points": 2, "loss": 0.5}, WithOther({"points": 1.0})) == {"points": 3, "loss": 0.5}


def brightness(outcomes):
    """The mean of the first channel; there is nothing to learn from the second prompt."""
    return torch.stack(
        [
            torch.zeros(()) if outcome.sample.task.name == "text-to-image" else outcome.latents[0].mean()
            for outcome in outcomes
        ]
    )


class Share:
    """Every so-manieth pack; the prompts of two ranks are of unlike lengths."""

    def __init__(self, packs, ranks):
        self.packs, self.ranks = packs, ranks

    def __next__(self):
        packs = [next(self.packs) for _ in range(self.ranks.size)]
        return packs[self.ranks.rank]


def shared_run(ranks, config, training, outcomes_of, reward):
    """A run of some ranks; their measures and notes, and whether the reference is read back."""
    config.run.mkdir(exist_ok=True)
    model = starting_model(config)
    ranks.shard(model)
    optimiser = Optimiser(model, config.optimiser, sum_over_ranks=ranks.sum)
    old, reference = old_policy(optimiser.weights, config), keep_reference(config.run, model, ranks)
    objective, recorder = training.build_objective(model), training.Recorder()
    calls = []
    velocities = objective.velocities
    learner = Learner(
        Policy(
            model,
            lambda *given, **how: calls.append(1) or velocities(*given, **how),
            old,
            partial(reference.swapped_into, model),
        ),
        algorithm_of(config),
        RewardSum({"brightness": (reward, 1.0)}),
        outcomes_of,
        settings=config.rl,
        token_budget=config.data.token_budget,
        ranks=ranks,
    )
    trainer = RLTrainer(
        config,
        learner=learner,
        model=model,
        optimiser=optimiser,
        ema=old,
        packs=Share(training.MemoryPacks(per_pack=1, seed=config.seed), ranks),
        objective=objective,
        state=RunState(),
        observer=recorder,
        ranks=ranks,
    )
    failure = None
    try:
        trainer.run()
    except (TrainingError, RankError) as error:
        failure = type(error).__name__, str(error)
    again = read_reference(config.run, model, ranks)
    is_read = all(torch.equal(weight, again.weights[name]) for name, weight in reference.weights.items())
    told = [(metrics.measures, metrics.grad_norm, metrics.samples, metrics.tokens) for metrics in recorder.steps]
    return told, is_read, failure, len(calls)


@pytest.mark.parametrize("algorithm", ["nft", "grpo"])
def test_two_processes_learn_what_one_learns(tmp_path, config, training, outcomes_of, processes, algorithm):
    """The same prompts in each round; in the first one rank has no answer to learn from, and they differ in packs."""
    config = replace(
        config,
        steps=3,
        optimiser=OptimiserSettings(lr=1e-2, warmup=0, eps=1e-3),
        data=replace(config.data, token_budget=40),
        rl=replace(config.rl, algorithm=algorithm, advantage_scale="all", kl=0.1, old_ramp=0.4),
    )
    one, two = (replace(config, run=tmp_path / name) for name in ("one", "two"))
    expected, *_ = shared_run(OneRank(), replace(one, grad_accumulation=2), training, outcomes_of, brightness)
    found = processes.in_ranks(shared_run, two, training, outcomes_of, brightness)
    assert [failure for _, _, failure, _ in found] == [None, None]
    assert [is_read for _, is_read, _, _ in found] == [True, True]
    assert found[0][3] == found[1][3], "a model that is spread runs in all of them at once"
    for told, *_ in found:
        assert [samples for _, _, samples, _ in told] == [8, 8, 8]
        for (measures, *numbers), (of_one, *of_one_numbers) in zip(told, expected, strict=True):
            assert measures == pytest.approx(of_one, rel=2e-3, abs=1e-5)
            assert numbers == pytest.approx(of_one_numbers, rel=2e-3)
    assert expected[0][0]["groups_without_contrast"] == 0.5
    for name in ("model", "ema"):
        weights, of_one = (load_file(newest_checkpoint(each.run) / f"{name}.safetensors") for each in (two, one))
        assert weights.keys() == of_one.keys()
        for key, weight in weights.items():
            torch.testing.assert_close(weight, of_one[key], rtol=1e-3, atol=1e-4)
    before, after = load_file(one.run / "reference.safetensors"), load_file(two.run / "reference.safetensors")
    assert all(torch.equal(weight, after[name]) for name, weight in before.items())


def test_a_reward_that_fails_on_a_rank_ends_all_at_the_last_whole_round(config, training, outcomes_of, processes):
    config = replace(config, steps=3, checkpoint=CheckpointSettings(every=100))
    calls = []

    def sometimes(outcomes):
        calls.append(1)
        is_bad = len(calls) == 2 and torch.distributed.get_rank() == 1
        return torch.stack([outcome.latents[0].mean() for outcome in outcomes]) * (math.nan if is_bad else 1)

    first, second = processes.in_ranks(shared_run, config, training, outcomes_of, sometimes)
    assert second[2][0] == "TrainingError"
    assert "the reward brightness, which gave nan for an answer to sample" in second[2][1]
    assert first[2][0] == "RankError"
    assert "rank 1, which cannot go on: found the reward brightness" in first[2][1]
    assert newest_checkpoint(config.run).name == "step-000001"
