"""The table of variants against the configs: what is compared has one data set and one budget."""

from pathlib import Path

import pytest

from benchmarks.ablations.comparisons import COMPARISONS, VARIANTS
from benchmarks.ablations.pictures import COLOURS
from benchmarks.ablations.running import SMOKE, Run, Size
from loom_core.config.rl import RLConfig
from loom_core.evaluation.plan import SuitePlan


def last_config(name, size, tmp_path):
    variant = VARIANTS[name]
    number = len(variant.parts) - 1
    run = Run(variant, 0, size, tmp_path)
    return run.config(variant.parts[number], number=number, starts_from=Path("weights"))


def test_every_variant_is_compared_and_every_comparison_can_be_drawn():
    assert {name for comparison in COMPARISONS for name in comparison.variants} == set(VARIANTS)
    assert all(len(comparison.variants) <= len(COLOURS) for comparison in COMPARISONS)


@pytest.mark.parametrize("comparison", COMPARISONS, ids=lambda comparison: comparison.key)
@pytest.mark.parametrize("size", [Size(), SMOKE], ids=["whole", "smoke"])
def test_what_is_compared_is_trained_on_the_same_and_measured_alike(comparison, size, tmp_path):
    configs = [last_config(name, size, tmp_path) for name in comparison.variants]
    first = configs[0]
    for config in configs[1:]:
        assert config.data.sets == first.data.sets
        assert config.validation == first.validation
        assert config.model == first.model
        assert config.timestep_shift_scale == first.timestep_shift_scale
        if not isinstance(first, RLConfig):
            assert config.optimiser == first.optimiser and config.noise_draws == first.noise_draws
    assert len({VARIANTS[name].judged for name in comparison.variants}) == 1


@pytest.mark.parametrize("name", VARIANTS)
def test_the_budget_is_shared_out(name):
    variant = VARIANTS[name]
    assert sum(part.share for part in variant.parts) == (0 if name == "built-in" else 1)


@pytest.mark.parametrize("name", VARIANTS)
def test_held_out_is_no_part_of_training(name, tmp_path):
    config = last_config(name, Size(), tmp_path)
    assert all(entry.options["split"] == "held-out" for entry in config.validation.sets)
    assert all(entry.options.get("split", "train") == "train" for entry in config.data.sets)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_judge_can_make_its_requests(name):
    judged = VARIANTS[name].judged
    assert SuitePlan(samples=1, tasks=judged.tasks, kinds=judged.kinds).cells


def test_captions_are_stage_one(tmp_path):
    variant = VARIANTS["stage-1-first"]
    config = Run(variant, 0, Size(), tmp_path).config(variant.parts[0], number=0, starts_from=None)
    assert not config.model.has_source and not config.data.source_to_mllm and not config.data.source_to_dit
    assert config.starts_from is None and config.data.dropout_all == 0
