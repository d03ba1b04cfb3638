"""A run from its config on the procedural world, with the built-in MLLM and codec: it trains, resumes, refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from loom_core.config.training import ValidationSettings, read_training_config
from loom_core.errors import ConfigError, OutputError
from loom_core.training.checkpoint import OPTIMISER_FILE, RNG_FILE, newest_checkpoint, read_state
from loom_core.training.planning import plan_run
from loom_core.training.run import CONFIG_FILE, open_trainer
from loom_core.training.watch.grid import SAMPLES_FOLDER
from loom_core.training.watch.observer import Observers
from loom_core.training.watch.run_folder import watch_run

CPU = torch.device("cpu")
TASKS = {"edit-image", "text-to-video"}


def trained(config, recorder, **options):
    plan = plan_run(config, **options)
    return open_trainer(plan, device=CPU, observer=recorder).run()


def test_it_trains_measures_saves_and_goes_on(world, recorder):
    trained(world, recorder)
    assert [metrics.step for metrics in recorder.steps] == [1, 2]
    assert {cell.task for metrics in recorder.validations for cell in metrics.losses} <= TASKS
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


def test_a_stop_after_the_last_checkpoint_leaves_nothing_unmeasured(world, recorder):
    """The same command measures what the first one was stopped before, once."""

    def train(is_stopped=lambda: False):
        world.run.mkdir(exist_ok=True)
        observer = Observers(watch_run(world.run), recorder)
        return open_trainer(plan_run(world), device=CPU, observer=observer).run(is_stopped)

    assert train(lambda: bool(recorder.checkpoints)).step == world.steps
    assert recorder.validations == []
    for _ in range(2):
        train()
    assert [metrics.step for metrics in recorder.validations] == [world.steps]
    assert [metrics.step for metrics in recorder.steps] == [1, 2]


def test_a_place_that_cannot_be_written(world, tmp_path, recorder):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="the run's folder"):
        trained(replace(world, run=tmp_path / "file" / "run"), recorder)


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
    assert {row.caption.partition(":")[0] for row in rows} <= TASKS
    assert all((row.source is not None) == (stage == 2 and row.caption.startswith("edit")) for row in rows)
    assert recorder.notes == []


def test_a_run_without_held_out_samples_says_so_once(world, recorder):
    trained(replace(world, validation=ValidationSettings(every=1)), recorder)
    assert recorder.notes == ["validation.sets names no held-out samples: no validation losses and no sample pictures"]
    recorder.notes.clear()
    trained(replace(world, validation=ValidationSettings(every=0), run=world.run.with_name("off")), recorder)
    assert recorder.notes == []
