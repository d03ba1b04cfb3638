"""Training configs: the files in the repository, published values, what is refused, what a resumed run may change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from loom_core.config.model import LOOM_TINY, LOOMVIDEO_5B
from loom_core.config.reading import flatten, to_yaml
from loom_core.config.training import (
    OptimiserSettings,
    TrainingConfig,
    changed_settings,
    read_training_config,
    with_steps,
)
from loom_core.errors import ConfigError

PUBLISHED = {
    "stage1": {
        "data.buckets": [256], "data.num_frames": 33, "data.token_budget": 10_240, "data.max_samples_per_pack": 50,
        "data.dropout_all": 0.0, "data.dropout_text": 0.0, "data.source_to_mllm": False, "data.source_to_dit": False,
        "timestep_shift_scale": 0.65, "ema": 0.0, "optimiser.warmup": 100, "data.workers": 12,
        "model.has_source": False, "steps": 48_000,
    },
    "stage2": {
        "data.buckets": [640], "data.num_frames": 121, "data.token_budget": 16_384, "data.max_samples_per_pack": 15,
        "data.dropout_all": 0.1, "data.dropout_text": 0.1, "data.source_to_mllm": True, "data.source_to_dit": True,
        "timestep_shift_scale": 0.5, "ema": 0.9999, "optimiser.warmup": 1000, "data.workers": 4,
        "model.has_source": True, "steps": 100_000,
    },
}  # fmt: skip
PUBLISHED["stage3"] = PUBLISHED["stage2"]
COMMON = {
    "optimiser.kind": "adamw", "optimiser.lr": 2e-5, "optimiser.betas": [0.9, 0.95], "optimiser.eps": 1e-8,
    "optimiser.weight_decay": 0.0, "optimiser.clip": 1.0, "optimiser.decay": "constant", "seed": 0,
    "grad_accumulation": 1, "precision": "bf16", "gradient_checkpointing": True, "checkpoint.every": 1000,
    "validation.every": 1000, "data.fps": 24.0,
}  # fmt: skip


@pytest.fixture
def configs(repo_root) -> Path:
    return repo_root / "configs" / "training"


@pytest.fixture
def config(configs) -> TrainingConfig:
    overrides = ["optimiser.lr=6e-4", "optimiser.decay=cosine", "seed=0"]
    return read_training_config(configs / "tiny" / "stage2.yaml", overrides=overrides)


@pytest.mark.parametrize("stage", PUBLISHED)
def test_the_5b_stages_have_the_published_values(configs, stage):
    config = read_training_config(configs / f"{stage}.yaml")
    flat = flatten(config)
    expected = COMMON | PUBLISHED[stage]
    assert {name: flat[name] for name in expected} == expected
    assert replace(config.model.dit_config(), has_source=True) == LOOMVIDEO_5B


@pytest.mark.parametrize("size", ["", "tiny"])
def test_each_stage_starts_from_the_one_before(configs, size):
    stages = [read_training_config(configs / size / f"stage{number}.yaml") for number in (1, 2, 3)]
    assert [stage.starts_from for stage in stages[1:]] == [stage.run for stage in stages[:2]]


@pytest.mark.parametrize("stage", ["stage1", "stage2", "stage3"])
def test_the_tiny_stages_are_those_of_the_5b_in_small(configs, stage):
    tiny = read_training_config(configs / "tiny" / f"{stage}.yaml")
    large = read_training_config(configs / f"{stage}.yaml")
    assert replace(tiny.model.dit_config(), has_source=True) == LOOM_TINY
    for name in ("source_to_mllm", "source_to_dit", "dropout_all", "dropout_text"):
        assert bool(getattr(tiny.data, name)) == bool(getattr(large.data, name))
    assert tiny.timestep_shift_scale >= large.timestep_shift_scale  # its samples have few tokens to shift them
    assert bool(tiny.ema) == bool(large.ema)
    assert {entry.kind for entry in (*tiny.data.sets, *tiny.validation.sets)} == {"world"}
    assert {entry.options.get("split", "train") for entry in tiny.data.sets} == {"train"}
    assert {entry.options["split"] for entry in tiny.validation.sets} == {"held-out"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.lr=1", "unknown setting 'optimizer'.*did you mean 'optimiser'"),
        ("optimiser.lr=0", "lr 0.0"),
        ("optimiser.kind=sgd", "kind: 'sgd'.*'muon'"),
        ("optimiser.betas=[0.9, 1.0]", "betas"),
        ("optimiser.warmup=-1", "warmup -1"),
        ("steps=0", "steps 0"),
        ("ema=1.0", "ema 1.0"),
        ("ema=.nan", "ema nan"),
        ("precision=fp16", "precision: 'fp16'.*'bf16'"),
        ("model.preset=14b", "model preset '14b'"),
        ("model.sizes.hiden_size=4", "did you mean 'hidden_size'"),
        ("model.sizes.hidden_size=4", r"hidden_size 4 with \d+ heads"),
        ("checkpoint.keep_last=0", "keep_last 0"),
        ("validation.pictures=-1", "pictures -1"),
        ("validation.picture_steps=0", "picture_steps 0"),
        ("validation.picture_steps=1001", "picture_steps 1001"),
        ("data.dropout_al=0.2", "did you mean 'dropout_all'"),
    ],
)
def test_what_makes_no_sense_is_named(configs, override, message):
    with pytest.raises(ConfigError, match=message):
        read_training_config(configs / "tiny" / "stage2.yaml", overrides=[override])


def test_nothing_has_changed_in_the_same_config(config):
    assert changed_settings(flatten(config), config) == {}


def test_what_changes_the_training_is_named(config):
    other = replace(config, seed=1, optimiser=replace(config.optimiser, lr=1.0, kind="adamw"))
    assert changed_settings(flatten(config), other) == {
        "seed": (0, 1), "optimiser.kind": ("muon", "adamw"), "optimiser.lr": (6e-4, 1.0)
    }  # fmt: skip


def test_what_does_not_change_it_may_change(config):
    other = replace(
        config,
        run=Path("elsewhere"),
        starts_from=None,
        checkpoint=replace(config.checkpoint, every=7),
        validation=replace(config.validation, sets=()),
        data=replace(config.data, workers=3, cache=Path("c"), cache_reserve_gb=1.0),
    )
    assert changed_settings(flatten(config), other) == {}


def test_the_number_of_steps_may_change_unless_the_rate_depends_on_it(config):
    assert set(changed_settings(flatten(config), with_steps(config, 9))) == {"steps"}
    constant = replace(config, optimiser=OptimiserSettings())
    assert changed_settings(flatten(constant), with_steps(constant, 9)) == {}
    assert with_steps(config, None) == config


@pytest.mark.parametrize("stage", PUBLISHED)
def test_no_cache_fills_the_disk_unasked(configs, stage):
    """The 5B configs have none, as the official trainer, and leave room for checkpoints when they are given one."""
    data = read_training_config(configs / f"{stage}.yaml").data
    assert data.cache is None
    assert data.cache_reserve_gb >= 2 * 91


@pytest.mark.parametrize("stage", PUBLISHED)
def test_something_is_measured_only_of_held_out_sets(configs, stage):
    """The 5B configs name none, since nobody's data is known; loom-tiny's have theirs."""
    assert not read_training_config(configs / f"{stage}.yaml").validation.is_on
    assert read_training_config(configs / "tiny" / f"{stage}.yaml").validation.is_on
    off = read_training_config(configs / "tiny" / f"{stage}.yaml", overrides=["validation.every=0"])
    assert not off.validation.is_on


def test_a_config_written_out_is_the_same_config(config, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    assert read_training_config(path) == config


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("lora.rank=0", "rank 0"),
        ("lora.alpha=-1", "alpha -1"),
        ("lora.dropout=1", "dropout 1"),
        ("lora.modules=[]", "a LoRA of no part of the model"),
        ("lora.ranks=4", r"unknown setting 'lora\.ranks'.*did you mean 'rank'"),
        ("starts_from=null", "a LoRA of random weights"),
        ("prompt_cache=somewhere", r"prompt_cache without data\.cache"),
    ],
)
def test_a_lora_that_makes_no_sense_is_refused(configs, override, message):
    with pytest.raises(ConfigError, match=message):
        read_training_config(configs / "tiny" / "lora.yaml", overrides=[override])


def test_a_lora_counts_times_alpha_over_rank(configs):
    path = configs / "tiny" / "lora.yaml"
    assert read_training_config(path).lora.scale == 1.0
    assert read_training_config(path, overrides=["lora.alpha=4"]).lora.scale == 0.25
    assert read_training_config(path, overrides=["lora.alpha=null"]).lora.scale == 1.0


def test_a_resumed_run_keeps_its_lora(configs):
    config = read_training_config(configs / "tiny" / "lora.yaml")
    before = flatten(config)
    other = replace(config, lora=replace(config.lora, rank=8, starts_from=Path("x")), prompt_cache=None)
    assert changed_settings(before, other) == {"lora.rank": (16, 8)}
    assert "lora.rank" in changed_settings(before, replace(config, lora=None))
