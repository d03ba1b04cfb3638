"""A run is refused before anything is read or written."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from loom_core.config.data import DataSetConfig
from loom_core.config.training import ModelSettings
from loom_core.errors import ConfigError, LoomError, WeightsError
from loom_core.training.planning import plan_run


def test_a_stage_whose_weights_are_missing_stops_before_anything_is_read_or_written(world, tmp_path):
    with pytest.raises(WeightsError, match="train the stage before"):
        plan_run(replace(world, starts_from=tmp_path / "runs" / "stage1"))
    assert not world.run.exists()


def test_an_optimiser_that_torch_lacks_is_refused_before_all_else(world, tmp_path, monkeypatch):
    monkeypatch.delattr(torch.optim, "Muon", raising=False)
    muon = replace(world.optimiser, kind="muon")
    with pytest.raises(ConfigError, match=r"which has no Muon; expected torch 2\.9.*optimiser\.kind=adamw"):
        plan_run(replace(world, optimiser=muon, starts_from=tmp_path / "nowhere"))


def test_an_mllm_of_another_width_is_refused(world):
    sizes = {**world.model.sizes, "mllm_dim": 64}
    with pytest.raises(ConfigError, match=r"an MLLM of 6 layers and width 128; expected at least 2 layers.*width 64"):
        plan_run(replace(world, model=replace(world.model, sizes=sizes)))


def test_a_dit_with_more_blocks_than_the_mllm_has_layers_is_refused(world):
    sizes = {**world.model.sizes, "num_layers": 7}
    with pytest.raises(ConfigError, match="expected at least 7 layers"):
        plan_run(replace(world, model=replace(world.model, sizes=sizes)))


def test_presets_fit_the_built_in_mllm(world):
    plan_run(replace(world, model=ModelSettings(preset="tiny")))


def test_a_set_that_is_missing_stops_a_run_before_it_begins(world, tmp_path):
    missing = DataSetConfig(kind="manifest", path=tmp_path / "nowhere.jsonl")
    with pytest.raises(LoomError, match=r"nowhere\.jsonl"):
        plan_run(replace(world, data=replace(world.data, sets=(missing,))))
    with pytest.raises(LoomError, match=r"nowhere\.jsonl"):
        plan_run(replace(world, validation=replace(world.validation, sets=(missing,))))
    assert not world.run.exists()
    plan_run(replace(world, validation=replace(world.validation, sets=(missing,), every=0)))
