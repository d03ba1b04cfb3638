"""A round of each algorithm, and that a policy of two parameters really learns by it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch

from loom_core.config.rl import GRPOSettings, NFTSettings
from loom_core.rl.grpo import FlowGRPO
from loom_core.rl.learner import Learner
from loom_core.rl.nft import DiffusionNFT
from loom_core.rl.policy import OldPolicy, Policy, trained_weights
from loom_core.rl.rewards.base import RewardSum
from loom_core.training.ema import Ema
from loom_core.types import Branch, Condition

WANTED = torch.tensor([1.0, -1.0]).view(2, 1)


def nearness(outcomes):
    """More the nearer the two rows are to 1 and -1."""
    return torch.stack([-(outcome.latents - WANTED).square().mean() for outcome in outcomes])


@pytest.fixture
def make_learner(toy, make_plan, rl_settings, outcomes_of):
    def make(name="nft", *, reward=nearness, reference=None, group_size=8, has_target=False, beta=1.0, **changes):
        noise_level = 0.7 if name == "grpo" else 0.0
        plan = make_plan(group_size=group_size, has_target=has_target, noise_level=noise_level, token_budget=400)
        settings = replace(rl_settings, rollout=plan.settings, **changes)
        if name == "grpo":
            algorithm = FlowGRPO(GRPOSettings(clip=0.2), plan)
        else:
            algorithm = DiffusionNFT(NFTSettings(beta=beta, levels_per_answer=2), plan)
        old = OldPolicy(trained_weights(toy), limit=0.5, ramp=0.05)
        policy = Policy(toy, toy.velocities, old, reference and partial(reference.swapped_into, toy))
        rewards = RewardSum({"nearness": (reward, 1.0)})
        return Learner(policy, algorithm, rewards, outcomes_of, settings=settings, token_budget=400)

    return make


@pytest.mark.parametrize("name", ["nft", "grpo"])
def test_two_parameters_raise_their_reward(toy, make_learner, make_prompt, name):
    learner = make_learner(name, updates=2)
    optimiser = torch.optim.Adam(toy.parameters(), lr=0.05)
    rewards = []
    for number in range(40):
        experience = learner.collect([make_prompt(2 * number), make_prompt(2 * number + 1)])
        rewards.append(experience.measures["reward"])
        for batch in learner.batches(experience, seed=number):
            optimiser.zero_grad()
            learner.backward(experience, batch)
            optimiser.step()
        learner.policy.old.update(trained_weights(toy))
    assert rewards[0] == pytest.approx(-1.25, abs=0.35)
    assert sum(rewards[-5:]) / 5 > rewards[0] + 0.5
    torch.testing.assert_close(toy.mean.detach(), WANTED.view(2), atol=0.5, rtol=0)


def test_a_target_among_the_answers_teaches_where_the_policys_own_do_not(toy, make_learner, make_prompt):
    def is_target(outcomes):
        return torch.stack([torch.eq(outcome.latents, outcome.sample.target).all().float() for outcome in outcomes])

    def prompts(number):
        given = [make_prompt(2 * number), make_prompt(2 * number + 1)]
        target = WANTED.expand(1, 1, 2, 2).contiguous()
        return [replace(each, sample=replace(each.sample, target=target)) for each in given]

    alone = make_learner(reward=is_target).collect(prompts(0))
    assert alone.points == () and alone.measures["groups_without_contrast"] == 1
    learner = make_learner(reward=is_target, group_size=4, has_target=True)
    optimiser = torch.optim.Adam(toy.parameters(), lr=0.05)
    for number in range(40):
        experience = learner.collect(prompts(number))
        # what is told is of the policy's own answers
        assert experience.measures["reward"] == 0 and experience.measures["groups_without_contrast"] == 0
        optimiser.zero_grad()
        learner.backward(experience, range(len(experience.points)))
        optimiser.step()
        learner.policy.old.update(trained_weights(toy))
    torch.testing.assert_close(toy.mean.detach(), WANTED.view(2), atol=0.3, rtol=0)


@pytest.mark.parametrize("name", ["nft", "grpo"])
def test_corrections_lead_to_the_target_of_an_edit_without_a_word_from_the_reward(toy, make_learner, make_prompt, name):
    def prompt(number):
        given = make_prompt(number)
        target = WANTED.expand(1, 1, 2, 2).contiguous()
        return replace(given, sample=replace(given.sample, target=target, source=torch.zeros_like(target)))

    learner = make_learner(name, reward=lambda outcomes: torch.zeros(len(outcomes)), corrections=1.0)
    optimiser = torch.optim.Adam(toy.parameters(), lr=0.05)
    told = []
    for number in range(60):
        experience = learner.collect([prompt(number)])
        optimiser.zero_grad()
        found = learner.backward(experience, range(len(experience.points)))
        told.append(found["correction"] / found["points"])
        optimiser.step()
        learner.policy.old.update(trained_weights(toy))
    torch.testing.assert_close(toy.mean.detach(), WANTED.view(2), atol=0.3, rtol=0)
    assert told[-1] < 0.7 * told[0]


def test_what_has_many_right_answers_is_not_corrected(make_learner, make_prompt):
    learner = make_learner(reward=lambda outcomes: torch.zeros(len(outcomes)), corrections=1.0)
    assert learner.collect([make_prompt()]).points == ()


class TwoBranches(torch.nn.Module):
    """Says one number with a prompt of three tokens, another one without."""

    def __init__(self):
        super().__init__()
        self.with_prompt, self.without = torch.nn.Parameter(torch.tensor(0.3)), torch.nn.Parameter(torch.tensor(0.1))

    def velocities(self, latents, timestep, conditions, *, rounded_time=False):
        said = [self.with_prompt if len(each.mllm_hidden_states[0]) == 3 else self.without for each in conditions]
        return [one.expand_as(noised) for one, noised in zip(said, latents, strict=True)]


def test_with_guidance_all_branches_learn_as_what_they_say_together(make_learner, make_prompt):
    model, learner = TwoBranches(), make_learner(kl=1.0)
    reference = Ema(trained_weights(model), decay=0.0)
    learner.policy = Policy(model, model.velocities, None, partial(reference.swapped_into, model))
    plain = make_prompt()
    both = {Branch.FULL: plain.conditions[Branch.FULL], Branch.UNCONDITIONAL: Condition((torch.zeros(1, 1),))}
    guided = replace(plain, conditions=both, weights={Branch.FULL: 2.5, Branch.UNCONDITIONAL: -1.5})
    experience = learner.collect([guided])
    said = torch.full((1, 1, 2, 2), 2.5 * 0.3 - 1.5 * 0.1)
    for point in experience.points:
        torch.testing.assert_close(point.old, said)
        torch.testing.assert_close(point.reference, said)
    learner.backward(experience, range(len(experience.points)))
    assert abs(float(model.without.grad)) > 1e-3
    torch.testing.assert_close(model.with_prompt.grad / 2.5, model.without.grad / -1.5)


def test_a_constant_reward_teaches_nothing(toy, make_learner, make_prompt):
    learner = make_learner(reward=lambda outcomes: torch.full((len(outcomes),), 0.3))
    experience = learner.collect([make_prompt(0), make_prompt(1)])
    assert experience.points == ()
    assert set(experience.advantages) == {0.0}
    assert experience.measures["groups_without_contrast"] == 1
    assert learner.batches(experience, seed=0) == []


def test_groups_without_contrast_are_left_out(make_learner, make_prompt):
    learner = make_learner(
        reward=lambda outcomes: torch.tensor(
            [float(each.sample.seed == 1) * index for index, each in enumerate(outcomes)]
        )
    )
    experience = learner.collect([make_prompt(0), make_prompt(1)])
    assert {point.rollout for point in experience.points} == set(range(8, 16))
    assert experience.measures["groups_without_contrast"] == 0.5
    assert experience.measures["reward/nearness"] == experience.measures["reward"] == sum(range(8, 16)) / 16


@pytest.mark.parametrize("name", ["nft", "grpo"])
def test_before_the_first_update_there_is_no_contrast_between_old_and_new(toy, make_learner, make_prompt, name):
    learner = make_learner(name)
    experience = learner.collect([make_prompt()])
    everything = range(len(experience.points))
    found = learner.backward(experience, everything)
    assert found["contrast"] == pytest.approx(0, abs=1e-5)
    assert found["deviation"] == pytest.approx(0, abs=1e-5)
    with torch.no_grad():
        toy.mean.add_(0.2)
    moved = learner.backward(experience, everything)
    assert min(moved["contrast"], moved["deviation"]) > 0.01


def test_packs_and_batches_make_no_difference(toy, make_learner, make_prompt):
    learner = make_learner()
    experience = learner.collect([make_prompt(3), make_prompt(4)])

    def gradient(batches, budget):
        """Of the mean over all points, from the means over batches."""
        learner.token_budget = budget
        total = 0.0
        for batch in batches:
            toy.zero_grad()
            learner.backward(experience, batch)
            total += toy.mean.grad * (len(batch) / len(experience.points))
        return total

    whole = gradient([range(len(experience.points))], 10**6)
    torch.testing.assert_close(gradient([range(len(experience.points))], 1), whole)
    learner.settings = replace(learner.settings, updates=3)
    batches = learner.batches(experience, seed=5)
    assert sorted(index for batch in batches for index in batch) == list(range(len(experience.points)))
    assert len(batches) == 3
    assert learner.batches(experience, seed=5) == batches != learner.batches(experience, seed=6)
    torch.testing.assert_close(gradient(batches, 50), whole)


def test_the_reference_holds_the_policy_back(toy, make_learner, make_prompt):
    reference = Ema({"mean": torch.zeros(2)}, decay=0.0)
    with torch.no_grad():
        toy.mean.add_(0.5)
    gradients = []
    for kl in (0.0, 10.0):
        learner = make_learner(reference=reference, kl=kl)
        experience = learner.collect([make_prompt()])
        assert all((point.reference is None) == (kl == 0) for point in experience.points)
        toy.zero_grad()
        found = learner.backward(experience, range(len(experience.points)))
        assert (found["kl"] > 0) == (kl > 0)
        gradients.append(toy.mean.grad.clone())
    assert bool((gradients[1] > gradients[0]).all())  # downhill is back to zero
