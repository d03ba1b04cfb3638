"""Held-out losses: the same noise every time, by task and noise third, with averaged weights in place."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
import torch

from loom_core.training.ema import Ema
from loom_core.training.validation import NUM_LEVELS, Validator, noise_third, validation_levels


def test_19_even_levels_are_spread_over_the_samples():
    levels = [level for index in range(NUM_LEVELS) for level in validation_levels(index, 1)]
    assert levels == pytest.approx([step / 20 for step in range(1, 20)])


def test_several_levels_a_sample_lie_far_apart_and_use_all_levels_alike():
    counts = Counter(level for index in range(NUM_LEVELS) for level in validation_levels(index, 3))
    assert len(counts) == NUM_LEVELS
    assert set(counts.values()) == {3}
    for index in range(NUM_LEVELS):
        levels = sorted(validation_levels(index, 3))
        assert min(later - earlier for earlier, later in pairwise(levels)) > 0.29
    assert len(set(validation_levels(4, 100))) == NUM_LEVELS


@pytest.mark.parametrize(("level", "third"), [(0.05, "low"), (0.3, "low"), (0.35, "mid"), (0.65, "mid"), (0.7, "high")])
def test_thirds(level, third):
    assert noise_third(level) == third


@pytest.fixture
def samples(sample_of):
    return [sample_of(index, seed=index, task=("edit-image", "text-to-image")[index % 2]) for index in range(6)]


def test_losses_are_told_by_task_and_third(model, samples, make_objective):
    metrics = Validator(samples, make_objective(model), model=model)(7)
    assert metrics.step == 7
    cells = [(cell.task, cell.noise) for cell in metrics.losses]
    assert cells == sorted(cells, key=lambda cell: (cell[0], ("low", "mid", "high").index(cell[1])))
    assert set(cells) == {
        (task, noise_third(level))
        for index, task in enumerate(["edit-image", "text-to-image"] * 3)
        for level in validation_levels(index, 3)
    }
    assert sum(cell.count for cell in metrics.losses) == 6 * 3


def test_a_cell_is_the_mean_error_at_its_levels(model, samples, make_objective):
    objective = make_objective(model)
    metrics = Validator(samples[:1], objective, model=model, levels_per_sample=1)(0)
    with torch.no_grad():
        error = objective.at_levels(samples[0], torch.tensor([1 / 20]))
    (cell,) = metrics.losses
    assert (cell.noise, cell.count) == ("low", 1)
    assert cell.loss == pytest.approx(error.item() / samples[0].target.numel())


def test_two_measurements_differ_only_by_the_weights(model, samples, make_objective):
    validator = Validator(samples, make_objective(model), model=model)
    torch.manual_seed(1)
    first = validator(1)
    torch.manual_seed(2)
    assert validator(1).losses == first.losses
    with torch.no_grad():
        model.head.head.bias.add_(0.1)
    assert validator(1).losses != first.losses


def test_averaged_weights_are_measured_and_the_own_ones_come_back(model, samples, make_objective):
    objective = make_objective(model)
    own = Validator(samples, objective, model=model)(1)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    ema = Ema({name: torch.zeros(weight.shape) for name, weight in model.named_parameters()}, decay=0.9)
    averaged = Validator(samples, objective, model=model, ema=ema)(1)
    assert (own.weights, averaged.weights) == ("model", "ema")
    assert averaged.loss != own.loss
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert model.training
    assert all(weight.grad is None for weight in model.parameters())


def test_a_failing_objective_leaves_the_model_as_it_was(model, samples):
    class Failing:
        def at_levels(self, sample, levels):
            raise ZeroDivisionError

    before = model.head.head.weight.clone()
    ema = Ema({name: torch.zeros(weight.shape) for name, weight in model.named_parameters()}, decay=0.9)
    with pytest.raises(ZeroDivisionError):
        Validator(samples, Failing(), model=model, ema=ema)(1)
    assert torch.equal(model.head.head.weight, before)
    assert model.training


def test_a_stop_between_two_samples_gives_the_measurement_up(model, samples, make_objective):
    answers = iter([False, False, True])
    before = model.head.head.weight.clone()
    ema = Ema({name: torch.zeros(weight.shape) for name, weight in model.named_parameters()}, decay=0.9)
    assert Validator(samples, make_objective(model), model=model, ema=ema)(1, lambda: next(answers)) is None
    assert next(answers, None) is None, "asked before each sample"
    assert torch.equal(model.head.head.weight, before)
