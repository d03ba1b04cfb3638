"""The objective: draws that belong to samples, conditions that are dropped, the loss of `packed`."""

from __future__ import annotations

from dataclasses import replace

import torch

from loom_core.config.training import read_training_config
from loom_core.data.seeds import derive_seed
from loom_core.training.objective import ObjectiveSettings
from loom_core.training.packed import draw


class Calls:
    """Stands in for the model: keeps what it is given, predicts nothing."""

    def __init__(self, model):
        self.config, self.parameters, self.calls = model.config, model.parameters, []

    def __call__(self, latents, timestep, conditions, *, checkpointing, rounded_time):
        self.calls.append((latents, timestep, conditions, (checkpointing, rounded_time)))
        return tuple(torch.zeros_like(sample) for sample in latents)


def test_fault_4_no_two_places_of_the_stream_share_draws(sample_of):
    """Two ranks take different places, so their first noise differs, with one seed for the run."""
    seeds = [derive_seed(0, "sample", position) for position in range(50)]
    draws = [draw([sample_of(0, seed=seed)], shift_scale=0.5) for seed in seeds]
    assert len({float(each.levels) for each in draws}) == 50
    assert len({float(each.noises[0].flatten()[0]) for each in draws}) == 50


def test_draws_do_not_depend_on_the_rest_of_the_pack(model, sample_of, make_objective):
    objective = make_objective(model, dropout_all=0.3, dropout_text=0.3)
    samples = [sample_of(index, seed=100 + index, task="reference-edit") for index in range(4)]
    together = objective(samples)
    alone = torch.cat([objective([sample]) for sample in samples])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_everything_dropped_is_no_text_no_source_no_references(model, sample_of, make_objective):
    calls = Calls(model)
    contents = []
    objective = make_objective(calls, dropout_all=1.0)
    read = objective.read_prompts
    objective.read_prompts = lambda given: contents.extend(given) or read(given)
    objective([sample_of(0, seed=5, task="reference-edit")])
    ((_, _, (condition,), _),) = calls.calls
    assert contents == [()]
    assert condition.source_latents is None
    assert condition.references == ()


def test_text_dropped_keeps_what_is_seen(model, sample_of, make_objective):
    calls = Calls(model)
    make_objective(calls, dropout_text=1.0)([sample_of(0, seed=5, task="reference-edit")])
    ((_, _, (condition,), _),) = calls.calls
    assert condition.source_latents is not None
    assert len(condition.references) == 1


def test_stage_1_gives_the_dit_no_source(model, sample_of, make_objective):
    calls = Calls(model)
    make_objective(calls, source_to_dit=False, source_to_mllm=False)([sample_of(0, seed=5, task="edit-image")])
    assert calls.calls[0][2][0].source_latents is None


def test_settings_reach_the_model(model, sample_of, make_objective):
    calls = Calls(model)
    sample = sample_of(0, seed=5)
    make_objective(calls, checkpointing=True, rounded_timesteps=True)([sample])
    make_objective(calls)([sample])
    assert [settings for *_, settings in calls.calls] == [(True, True), (False, False)]


def test_velocities_are_computed_as_the_settings_say_of_training(model, sample_of, make_objective):
    calls, sample = Calls(model), sample_of(0, seed=5)
    objective = make_objective(calls, checkpointing=True, rounded_timesteps=True)
    asked = [sample.target], torch.tensor([700.0]), objective.prepare([sample])
    objective.velocities(*asked, rounded_time=True)
    with torch.no_grad():
        objective.velocities(*asked)
    make_objective(calls).velocities(*asked, rounded_time=True)
    assert [settings for *_, settings in calls.calls] == [(True, True), (False, False), (False, False)]


def test_checkpointing_changes_no_gradient(model, sample_of, make_objective):
    samples = [sample_of(index, seed=index, task="reference-edit", frames=1 + index) for index in range(2)]
    gradients = []
    for checkpointing in (False, True):
        model.zero_grad()
        make_objective(model, checkpointing=checkpointing)(samples).sum().backward()
        gradients.append([weight.grad.clone() for weight in model.parameters()])
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))


def test_autocast_computes_near_float32_with_float32_gradients(model, sample_of, make_objective):
    samples = [sample_of(index, seed=index) for index in range(2)]
    exact = make_objective(model)(samples)
    rounded = make_objective(model, autocast=True)(samples)
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, rtol=0.05, atol=0.0)
    rounded.sum().backward()
    assert {weight.grad.dtype for weight in model.parameters()} == {torch.float32}


def test_levels_are_taken_as_given_with_one_noise(model, sample_of, make_objective):
    calls = Calls(model)
    sample = sample_of(0, seed=5)
    make_objective(calls, dropout_all=1.0).at_levels(sample, torch.tensor([0.25, 0.75]))
    ((latents, timestep, conditions, _),) = calls.calls
    assert timestep.tolist() == [250, 750]
    assert conditions[0].source_latents is not None, "validation drops nothing"
    noise = draw([sample], shift_scale=0.5).noises[0]
    for level, noised in zip((0.25, 0.75), latents, strict=True):
        expected = (1 - level) * sample.target + (1e-3 + (1 - 1e-3) * level) * noise
        torch.testing.assert_close(noised, expected)


def test_several_draws_are_one_mean(model, sample_of, make_objective):
    samples = [sample_of(index, seed=5 + index) for index in range(2)]
    drawn = draw(samples, shift_scale=0.5, times=3)
    assert len(drawn.levels.unique()) == len(drawn.noises) == 6
    calls = Calls(model)
    errors = make_objective(calls, noise_draws=3)(samples)
    ((_, timestep, conditions, _),) = calls.calls
    torch.testing.assert_close(timestep, drawn.levels * 1000)
    assert len({id(condition) for condition in conditions}) == 2, "what is read of a sample is the same at all of them"
    one_by_one = [
        (drawn.noises[place] - samples[place // 3].target).square().sum() for place in range(6)
    ]  # what predicting nothing costs
    torch.testing.assert_close(errors, torch.stack(one_by_one).unflatten(0, (2, 3)).mean(1), rtol=1e-2, atol=0)
    first = draw(samples, shift_scale=0.5)
    assert torch.equal(first.levels, drawn.levels[::3]), "one draw is the first of several"


def test_dropped_references_still_count_for_the_shift(model, sample_of, make_objective):
    """As in the official trainer: the noise level is drawn before anything is dropped."""
    sample = sample_of(0, seed=5, task="reference-edit", side=32)
    bare = replace(sample, references=())
    times = []
    for given, dropout in ((sample, 0.0), (sample, 1.0), (bare, 0.0)):
        calls = Calls(model)
        make_objective(calls, dropout_all=dropout)([given])
        times.append(float(calls.calls[0][1]))
    assert times[0] == times[1] != times[2]


def test_levels_beyond_the_token_budget_are_packs_of_their_own(model, sample_of, make_objective):
    sample, levels = sample_of(0, seed=5), torch.tensor([0.25, 0.5, 0.75])
    tokens = sample.shift_tokens + 3  # of the prompt
    whole = make_objective(model).at_levels(sample, levels)
    for budget, sizes in ((3 * tokens, [3]), (3 * tokens - 1, [2, 1]), (tokens, [1, 1, 1]), (1, [1, 1, 1])):
        calls = Calls(model)
        make_objective(calls, token_budget=budget).at_levels(sample, levels)
        assert [len(latents) for latents, *_ in calls.calls] == sizes
        torch.testing.assert_close(make_objective(model, token_budget=budget).at_levels(sample, levels), whole)


def test_the_objective_is_as_the_config_says(repo_root):
    folder = repo_root / "configs" / "training"
    first = ObjectiveSettings.of(read_training_config(folder / "stage1.yaml"))
    second = ObjectiveSettings.of(read_training_config(folder / "stage2.yaml"))
    assert (first.shift_scale, first.dropout_all, first.source_to_dit, first.checkpointing) == (0.65, 0.0, False, True)
    assert (second.shift_scale, second.dropout_all, second.dropout_text, second.source_to_mllm) == (0.5, 0.1, 0.1, True)
    assert second.rounded_timesteps
    assert not second.autocast
    tiny = ObjectiveSettings.of(read_training_config(folder / "tiny" / "stage2.yaml"))
    assert tiny.autocast
    assert not tiny.rounded_timesteps
