"""A run from its config on the procedural world, with the built-in MLLM and codec: it trains, resumes, refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from loom_core.config.data import DataConfig, DataSetConfig
from loom_core.config.training import ModelSettings, ValidationSettings, read_training_config
from loom_core.errors import ConfigError, LoomError, OutputError, WeightsError
from loom_core.training.checkpoint import OPTIMISER_FILE, RNG_FILE, newest_checkpoint, read_state
from loom_core.training.run import CONFIG_FILE, objective_settings, open_trainer, plan_run
from loom_core.training.watch.grid import SAMPLES_FOLDER
from loom_core.training.watch.observer import Observers
from loom_core.training.watch.run_folder import watch_run

CPU = torch.device("cpu")
TASKS = {"edit-image": 1.0, "text-to-video": 1.0}


@pytest.fixture
def world(config):
    """A few small pictures a step."""
    options = {"count": 8, "size": [64, 64], "frames": [5], "tasks": TASKS}
    held_out = DataSetConfig(kind="world", name="held-out", options={**options, "split": "held-out"})
    return replace(
        config,
        steps=2,
        data=DataConfig(
            sets=(DataSetConfig(kind="world", options=options),),
            sizes=((64, 64),),
            num_frames=5,
            token_budget=600,
            max_samples_per_pack=2,
            dropout_text=0.2,
        ),
        model=replace(config.model, sizes={**config.model.sizes, "mllm_dim": 128}),
        validation=ValidationSettings(sets=(held_out,), every=2, samples=2, picture_steps=2),
    )


def trained(config, recorder, **options):
    plan = plan_run(config, **options)
    return open_trainer(plan, device=CPU, observer=recorder).run()


def test_it_trains_measures_saves_and_goes_on(world, recorder):
    trained(world, recorder)
    assert [metrics.step for metrics in recorder.steps] == [1, 2]
    assert {cell.task for metrics in recorder.validations for cell in metrics.losses} <= set(TASKS)
    assert recorder.validations[0].weights == "ema"
    assert read_training_config(world.run / CONFIG_FILE) == world
    state = read_state(newest_checkpoint(world.run))
    assert state.samples == sum(metrics.samples for metrics in recorder.steps)

    trained(replace(world, steps=3), recorder)
    assert [metrics.step for metrics in recorder.steps] == [1, 2, 3]
    first = {entry.step: entry.loss for entry in recorder.steps}
    recorder.steps.clear()
    trained(replace(world, steps=3, run=world.run.with_name("whole")), recorder)
    assert {entry.step: entry.loss for entry in recorder.steps} == first

    with pytest.raises(ConfigError, match=r"another config than.*seed was 0 and is 1"):
        plan_run(replace(world, seed=1))
    assert trained(replace(world, steps=4, seed=1), recorder, allow_config_change=True).step == 4


def test_a_stage_whose_weights_are_missing_stops_before_anything_is_read_or_written(world, tmp_path, monkeypatch):
    monkeypatch.setattr("loom_core.training.run.open_packs", None)
    with pytest.raises(WeightsError, match="train the stage before"):
        plan_run(replace(world, starts_from=tmp_path / "runs" / "stage1"))
    assert not world.run.exists()


def test_an_mllm_of_another_width_is_refused(world):
    sizes = {**world.model.sizes, "mllm_dim": 64}
    with pytest.raises(ConfigError, match=r"an MLLM of 6 layers and width 128; expected at least 2 layers.*width 64"):
        plan_run(replace(world, model=replace(world.model, sizes=sizes)))


def test_a_dit_with_more_blocks_than_the_mllm_has_layers_is_refused(world):
    sizes = {**world.model.sizes, "num_layers": 7}
    with pytest.raises(ConfigError, match="expected at least 7 layers"):
        plan_run(replace(world, model=replace(world.model, sizes=sizes)))


def test_a_place_that_cannot_be_written(world, tmp_path, recorder):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="the run's folder"):
        trained(replace(world, run=tmp_path / "file" / "run"), recorder)


def test_the_objective_is_as_the_config_says(repo_root):
    folder: Path = repo_root / "configs" / "training"
    first = objective_settings(read_training_config(folder / "stage1.yaml"))
    second = objective_settings(read_training_config(folder / "stage2.yaml"))
    assert (first.shift_scale, first.dropout_all, first.source_to_dit, first.checkpointing) == (0.65, 0.0, False, True)
    assert (second.shift_scale, second.dropout_all, second.dropout_text, second.source_to_mllm) == (0.5, 0.1, 0.1, True)
    assert second.rounded_timesteps
    assert not second.autocast
    tiny = objective_settings(read_training_config(folder / "tiny" / "stage2.yaml"))
    assert tiny.autocast
    assert not tiny.rounded_timesteps


def test_presets_fit_the_built_in_mllm(world):
    plan_run(replace(world, model=ModelSettings(preset="tiny")))


@pytest.mark.parametrize("stage", [1, 2])
def test_grids_of_samples_lie_in_the_folder_and_change_nothing(world, recorder, stage):
    """With and without pictures every loss is the same to the bit, and so are the weights and generators saved."""
    if stage == 1:  # neither MLLM nor DiT gets the source
        data = replace(world.data, source_to_mllm=False, source_to_dit=False, dropout_text=0.0)
        world = replace(world, data=data, model=replace(world.model, has_source=False), ema=0.0)
    settings = replace(world.validation, every=1, pictures=2, picture_steps=2)
    runs = {}
    for name, pictures in (("with", 2), ("without", 0)):
        config = replace(world, run=world.run.with_name(name), validation=replace(settings, pictures=pictures))
        config.run.mkdir()
        recorder.steps.clear()
        trained(config, Observers(watch_run(config.run), recorder))
        saved = newest_checkpoint(config.run)
        files = {path.name: load_file(path) for path in saved.glob("*.safetensors")}
        runs[name] = [(metrics.loss, metrics.grad_norm) for metrics in recorder.steps], files
    (losses, files), (other_losses, other_files) = runs.values()
    assert losses == other_losses
    assert {"model.safetensors", OPTIMISER_FILE, RNG_FILE} <= files.keys() == other_files.keys()
    for name, tensors in files.items():
        assert all(torch.equal(tensor, other_files[name][key]) for key, tensor in tensors.items())

    grids = sorted(path.name for path in (world.run.with_name("with") / SAMPLES_FOLDER).iterdir())
    assert grids == ["step-000001.png", "step-000002.png"]
    assert not (world.run.with_name("without") / SAMPLES_FOLDER).exists()
    assert [step for step, _ in recorder.samples] == [1, 2]
    rows = recorder.samples[0][1]
    assert {row.caption.partition(":")[0] for row in rows} <= set(TASKS)
    assert all((row.source is not None) == (stage == 2 and row.caption.startswith("edit")) for row in rows)
    assert recorder.notes == []


def test_a_run_without_held_out_samples_says_so_once(world, recorder):
    trained(replace(world, validation=ValidationSettings(every=1)), recorder)
    assert recorder.notes == ["validation.sets names no held-out samples: no validation losses and no sample pictures"]
    recorder.notes.clear()
    trained(replace(world, validation=ValidationSettings(every=0), run=world.run.with_name("off")), recorder)
    assert recorder.notes == []


def test_a_held_out_set_that_is_missing_stops_a_run_before_it_begins(world, tmp_path):
    missing = DataSetConfig(kind="manifest", path=tmp_path / "nowhere.jsonl")
    with pytest.raises(LoomError, match=r"nowhere\.jsonl"):
        plan_run(replace(world, validation=replace(world.validation, sets=(missing,))))
    assert not world.run.exists()
    plan_run(replace(world, validation=replace(world.validation, sets=(missing,), every=0)))
