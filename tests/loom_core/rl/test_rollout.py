"""Answers: several to a prompt, each by its own seed, whatever shares its pack."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from loom_core.errors import TrainingError
from loom_core.rl.rollout import GivenUpError, Prompt, check_finite, packs_of, roll_out
from loom_core.types import Branch


def test_every_prompt_is_answered_in_order_by_different_answers(toy, make_prompt, make_plan):
    plan = make_plan(group_size=3)
    rollouts = roll_out(toy.velocities, [make_prompt(5), make_prompt(6)], plan)
    assert [rollout.prompt for rollout in rollouts] == [0, 0, 0, 1, 1, 1]
    assert len({float(rollout.clean.sum()) for rollout in rollouts}) == 6
    assert all(rollout.visits == () for rollout in rollouts)


def test_the_target_is_the_last_answer_where_asked(toy, make_prompt, make_plan):
    prompts = [make_prompt(5), make_prompt(6)]
    plain = roll_out(toy.velocities, prompts, make_plan(group_size=2))
    found = roll_out(toy.velocities, prompts, make_plan(group_size=3, has_target=True))
    assert [each.prompt for each in found] == [0, 0, 0, 1, 1, 1]
    assert [each.is_target for each in found] == [False, False, True] * 2
    own = [each.clean for each in found if not each.is_target]
    assert all(torch.equal(one, other.clean) for one, other in zip(own, plain, strict=True))
    assert torch.equal(found[2].clean, prompts[0].sample.target)


@pytest.mark.parametrize("noise_level", [0.0, 0.7])
def test_an_answer_does_not_depend_on_its_pack(toy, make_prompt, make_plan, noise_level):
    prompts = [make_prompt(5), make_prompt(6)]
    alone = roll_out(toy.velocities, prompts, make_plan(noise_level=noise_level, token_budget=1))
    assert set(toy.calls) == {1}
    together = roll_out(toy.velocities, prompts, make_plan(noise_level=noise_level, token_budget=999))
    assert toy.calls[-1] == 8
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one.clean, other.clean)


def test_answers_have_the_policys_distribution(toy, make_prompt, make_plan):
    with torch.no_grad():
        toy.mean.copy_(torch.tensor([2.0, -1.0]))
    plan = make_plan(group_size=400, num_inference_steps=20, token_budget=4000)
    clean = torch.stack([rollout.clean for rollout in roll_out(toy.velocities, [make_prompt()], plan)])
    torch.testing.assert_close(clean.mean(dim=(0, 1, 2, 4)), torch.tensor([2.0, -1.0]), atol=0.08, rtol=0)
    assert float((clean - toy.mean.detach().view(2, 1)).std()) == pytest.approx(0.5, abs=0.05)


def test_drawn_steps_are_kept_and_lead_to_the_answer(toy, make_prompt, make_plan):
    (rollout, *_) = roll_out(toy.velocities, [make_prompt()], make_plan(noise_level=0.7))
    assert len(rollout.visits) == 6
    for visit, following in zip(rollout.visits, rollout.visits[1:], strict=False):
        assert torch.equal(visit.following, following.latents)
    assert torch.equal(rollout.visits[-1].following, rollout.clean)
    assert [visit.step.std > 0 for visit in rollout.visits] == [True] * 5 + [False]


def test_guidance_runs_all_branches_in_one_pack(toy, make_prompt, make_plan):
    plain = make_prompt()
    both = dict.fromkeys((Branch.UNCONDITIONAL, Branch.FULL), plain.conditions[Branch.FULL])
    guided = Prompt(plain.sample, both, {Branch.UNCONDITIONAL: -0.5, Branch.FULL: 1.5})
    assert guided.tokens() == 2 * plain.tokens()
    plan = make_plan(group_size=2, token_budget=999)
    found = roll_out(toy.velocities, [guided], plan)
    assert set(toy.calls) == {4}
    for one, other in zip(found, roll_out(toy.velocities, [plain], plan), strict=True):
        torch.testing.assert_close(one.clean, other.clean)  # both branches say the same


def test_an_answer_that_is_not_finite(make_prompt, make_plan):
    def broken(latents, timestep, conditions, *, rounded_time=False):
        return [torch.full_like(each, float("nan")) for each in latents]

    with pytest.raises(TrainingError, match="an answer to prompt 3 that is not finite"):
        check_finite(roll_out(broken, [make_prompt(3)], make_plan()))


def test_a_stop_is_heard_before_the_next_step(toy, make_prompt, make_plan):
    with pytest.raises(GivenUpError):
        roll_out(toy.velocities, [make_prompt()], make_plan(), is_stopped=lambda: len(toy.calls) == 2)
    assert len(toy.calls) == 2


def test_packs_keep_the_order_and_the_budget():
    assert list(packs_of([3, 3, 3, 9, 1], 6)) == [[0, 1], [2], [3], [4]]
    assert list(packs_of([], 6)) == []


def test_a_seed_of_its_own_at_each_place(toy, make_prompt, make_plan):
    prompt = make_prompt(1)
    again = replace(prompt, sample=replace(prompt.sample, seed=2))
    rollouts = roll_out(toy.velocities, [prompt, again], make_plan())
    assert len({rollout.seed for rollout in rollouts}) == 8
