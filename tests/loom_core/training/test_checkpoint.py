"""Checkpoints: whole or not there, loadable by all else, and exact: a killed run goes on as if nothing had happened."""

from __future__ import annotations

import errno
import json
import re
import resource
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from loom_core.config.reading import flatten
from loom_core.config.training import CheckpointSettings, LoraSettings
from loom_core.errors import OutputError, ResourceError, WeightsError
from loom_core.lora.lora_file import open_lora, shapes_of
from loom_core.training import checkpoint as subject
from loom_core.training.checkpoint import RunState, load_checkpoint, newest_checkpoint, read_state, save_checkpoint
from loom_core.training.ema import Ema
from loom_core.training.optimiser import Optimiser
from loom_core.training.starting import add_lora, empty_model, starting_model
from loom_core.weights.loading import load_dit
from loom_core.weights.reading import open_checkpoint
from loom_core.weights.saving import entries_of, save_safetensors

NEEDS_MUON = pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch has Muon from 2.9 on")
CONFTEST = Path(__file__).with_name("conftest.py")
PROGRAM = """
import importlib.util, os, pathlib, signal, sys
import torch
spec = importlib.util.spec_from_file_location("micro", sys.argv[1])
micro = importlib.util.module_from_spec(spec)
sys.modules["micro"] = micro
spec.loader.exec_module(micro)
torch.set_num_threads(int(sys.argv[4]))
torch.manual_seed(0)
config = micro.micro_config(
    pathlib.Path(sys.argv[2]), precision=sys.argv[5], steps=8, checkpoint=micro.CheckpointSettings(every=2),
    optimiser=micro.OptimiserSettings(kind=sys.argv[6], lr=1e-2, warmup=0),
)

def die():
    os.kill(os.getpid(), signal.SIGKILL)

class Killed(micro.SilentObserver):
    def on_step(self, metrics):
        if metrics.step == 5:
            die()

if sys.argv[3] == "while writing":
    from loom_core.training import checkpoint
    save = checkpoint.save_safetensors
    def dying(path, *args, **kwargs):
        if "step-000004" in str(path) and path.name == "optimiser.safetensors":
            die()
        return save(path, *args, **kwargs)
    checkpoint.save_safetensors = dying
micro.build_trainer(config, observer=Killed()).run()
"""


@pytest.fixture
def trained(config, make_trainer):
    """A run after three steps."""
    trainer = make_trainer(replace(config, steps=3))
    trainer.run()
    return trainer


def resumed(config, make_trainer, make_packs, folder):
    """A trainer that goes on from a checkpoint."""
    model = empty_model(config)
    optimiser = Optimiser(model, config.optimiser)
    ema = Ema(optimiser.weights, decay=config.ema) if config.ema else None
    state = load_checkpoint(folder, model=model, optimiser=optimiser, ema=ema)
    packs = make_packs(seed=config.seed, **state.data["0"])
    return make_trainer(config, model=model, optimiser=optimiser, ema=ema, state=state, packs=packs)


def same(first: Path, second: Path) -> bool:
    """Whether two checkpoints agree in every bit of every tensor."""
    names = sorted(path.name for path in first.glob("*.safetensors"))
    if names != sorted(path.name for path in second.glob("*.safetensors")):
        return False
    for name in names:
        left, right = load_file(first / name), load_file(second / name)
        if left.keys() != right.keys() or any(not torch.equal(left[key], right[key]) for key in left):
            return False
    return True


def test_what_is_saved_comes_back(config, trained, make_trainer, make_packs):
    folder = newest_checkpoint(config.run)
    torch.manual_seed(9)
    other = resumed(config, make_trainer, make_packs, folder)
    assert other.state == replace(trained.state, settings=other.state.settings)
    assert other.state.data == {"0": {"position": 6}}
    assert other.ema.updates == 3
    assert all(torch.equal(w, other.ema.weights[name]) for name, w in trained.ema.weights.items())
    assert all(torch.equal(w, other.model.state_dict()[name]) for name, w in trained.model.state_dict().items())


def test_averages_begin_at_the_weights_where_the_run_had_none(config, make_trainer, make_packs):
    without = replace(config, steps=2, ema=0.0)
    state = RunState(settings=flatten(without))
    before = make_trainer(without, state=state, packs=make_packs(num_samples=4))
    before.run()
    folder = newest_checkpoint(config.run)
    after = resumed(replace(config, ema=0.9), make_trainer, make_packs, folder)
    assert after.ema.updates == 0
    assert all(torch.equal(weight, after.ema.weights[name]) for name, weight in before.optimiser.weights.items())
    written = folder / "state.json"
    written.write_text(written.read_text().replace('"ema": 0.0', '"ema": 0.9'))  # so its averages are lost
    with pytest.raises(WeightsError, match="cannot be read as a checkpoint"):
        resumed(replace(config, ema=0.9), make_trainer, make_packs, folder)


def test_torchs_own_generator_comes_back(config, trained, make_trainer, make_packs):
    torch.manual_seed(5)
    torch.rand(7)
    folder = save_checkpoint(config.run, trained.state, model=trained.model, optimiser=trained.optimiser)
    expected = torch.rand(3)
    torch.manual_seed(0)
    resumed(replace(config, ema=0.0), make_trainer, make_packs, folder)
    assert torch.equal(torch.rand(3), expected)


def test_fault_10_no_pickles_and_names_in_every_file(trained, config):
    folder = newest_checkpoint(config.run)
    assert {path.suffix for path in folder.iterdir()} == {".safetensors", ".json"}
    assert set(load_file(folder / "ema.safetensors")) == set(trained.model.state_dict())


def test_a_checkpoint_is_a_model_for_everything_else(trained, config):
    folder = newest_checkpoint(config.run)
    averaged, live = load_dit(folder), load_dit(folder, ema=False)
    assert live.config == averaged.config == config.model.dit_config()
    for name, weight in trained.model.state_dict().items():
        assert torch.equal(live.state_dict()[name], weight)
        assert torch.equal(averaged.state_dict()[name], trained.ema.weights[name])
    assert torch.equal(load_dit(config.run).head.head.weight, averaged.head.head.weight)


@pytest.mark.parametrize("room", [2_000, 300_000])
def test_a_full_disk_leaves_the_older_checkpoint(trained, config, room):
    """The system itself refuses to write more, in the first file or in a later one."""
    before = {path: path.read_bytes() for path in config.run.rglob("*") if path.is_file()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with pytest.raises(ResourceError) as caught:
            save_checkpoint(
                config.run,
                replace(trained.state, step=4),
                model=trained.model,
                optimiser=trained.optimiser,
                ema=trained.ema,
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert f"no space left for the checkpoint step-000004 in the run's folder {config.run}" in str(caught.value)
    assert ".partial" not in str(caught.value)
    assert "give the same command again, which goes on from step-000003" in str(caught.value)
    assert {path: path.read_bytes() for path in config.run.rglob("*") if path.is_file()} == before
    assert [path.name for path in (config.run / "checkpoints").iterdir()] == ["step-000003"]


def test_a_disk_that_fills_up_at_the_last_file(trained, config, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(subject.json, "dump", full)
    with pytest.raises(ResourceError, match="step-000004"):
        save_checkpoint(config.run, replace(trained.state, step=4), model=trained.model, optimiser=trained.optimiser)
    assert newest_checkpoint(config.run).name == "step-000003"
    assert [path.name for path in (config.run / "checkpoints").iterdir()] == ["step-000003"]


def test_a_disk_that_is_too_small_is_told_with_the_size_of_the_whole(trained, config, monkeypatch, tmp_path):
    """Whichever of its files has no room: here the first, before it is begun."""
    whole = sum(path.stat().st_size for path in newest_checkpoint(config.run).glob("*.safetensors"))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("loom_core.weights.saving.shutil.disk_usage", lambda _: usage._replace(free=1_000))
    with pytest.raises(ResourceError) as caught:
        save_checkpoint(
            tmp_path / "new", trained.state, model=trained.model, optimiser=trained.optimiser, ema=trained.ema
        )
    told = re.search(r"it takes ([\d.]+) MB in all, 1 kB are free", str(caught.value))
    assert float(told.group(1)) * 1e6 == pytest.approx(whole, rel=0.1)
    assert "which begins anew, since there is no checkpoint yet" in str(caught.value)


def test_what_is_no_lack_of_room_is_told_as_what_it_is(trained, config):
    (config.run / "file").write_text("no folder")
    with pytest.raises(OutputError, match="step-000003, which cannot be written"):
        save_checkpoint(config.run / "file", trained.state, model=trained.model, optimiser=trained.optimiser)


def test_the_same_step_is_replaced(trained, config):
    state = replace(trained.state, samples=99)
    folder = save_checkpoint(config.run, state, model=trained.model, optimiser=trained.optimiser)
    assert read_state(folder).samples == 99
    assert [path.name for path in (config.run / "checkpoints").iterdir()] == ["step-000003"]


def test_a_folder_without_its_state_is_no_checkpoint(trained, config):
    other = config.run / "checkpoints" / "step-000009"
    other.mkdir()
    (other / "model.safetensors").write_bytes(b"")
    assert newest_checkpoint(config.run).name == "step-000003"
    assert newest_checkpoint(config.run / "nowhere") is None


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "state.json").write_text("{"), "cannot be read as a checkpoint"),
        (lambda folder: (folder / "state.json").write_text("[]"), "cannot be read as a checkpoint"),
        (lambda folder: (folder / "state.json").write_text(json.dumps({"version": 99})), "of version 99"),
        (lambda folder: (folder / "optimiser.safetensors").unlink(), "cannot be read as a checkpoint"),
        (lambda folder: (folder / "ema.safetensors").write_bytes(b"short"), "cannot be read as a checkpoint"),
        (lambda folder: (folder / "rng.safetensors").unlink(), "cannot be read as a checkpoint"),
    ],
)
def test_a_damaged_checkpoint_is_refused(trained, config, make_trainer, make_packs, spoil, message):
    folder = newest_checkpoint(config.run)
    spoil(folder)
    with pytest.raises(WeightsError, match=message):
        resumed(config, make_trainer, make_packs, folder)


@pytest.mark.parametrize("changes", [{"precision": "bf16"}, {"sizes": {"num_layers": 1}}])
def test_another_model_is_refused(trained, config, make_trainer, make_packs, changes):
    folder = newest_checkpoint(config.run)
    if "sizes" in changes:
        sizes = {**config.model.sizes, **changes["sizes"]}
        config = replace(config, model=replace(config.model, sizes=sizes))
    else:
        config = replace(config, **changes)
    with pytest.raises(WeightsError, match="whose model differs"):
        resumed(config, make_trainer, make_packs, folder)


def test_states_are_read_as_they_were_written(tmp_path):
    state = RunState(step=4, data={"0": {"next": 3}, "1": {"next": 4}}, settings={"a.b": [1, 2]}, seconds=1.5,
                     extra={"stops": {"first": [0.5]}})  # fmt: skip
    (tmp_path / "state.json").write_text(json.dumps({"version": 1, **vars(state), "later": 1}))
    assert read_state(tmp_path) == state
    assert [state.position_of(rank, size=2) for rank in range(2)] == [{"next": 3}, {"next": 4}]
    assert RunState().position_of(0) is None


@pytest.mark.parametrize(
    ("when", "precision", "kind"),
    [
        ("after a step", "fp32", "adamw"),
        ("while writing", "bf16", "adamw"),
        ("after a step", "bf16-autocast", "adamw"),
        pytest.param("after a step", "fp32", "muon", marks=NEEDS_MUON),
        pytest.param("while writing", "bf16", "muon", marks=NEEDS_MUON),
    ],
)
def test_fault_10_a_killed_run_goes_on_bit_for_bit(
    tmp_path, config, make_trainer, make_packs, recorder, when, precision, kind
):
    changes = {"precision": precision, "steps": 8, "checkpoint": CheckpointSettings(every=2)}
    changes["optimiser"] = replace(config.optimiser, kind=kind)
    whole = replace(config, run=tmp_path / "whole", **changes)
    torch.manual_seed(0)
    make_trainer(whole).run()
    expected = [metrics.loss.hex() for metrics in recorder.steps]

    run = tmp_path / "killed"
    arguments = [str(CONFTEST), str(run), when, str(torch.get_num_threads()), precision, kind]
    root = Path(subject.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    at = newest_checkpoint(run)
    assert at.name == ("step-000004" if when == "after a step" else "step-000002")
    assert any(run.glob("checkpoints/.*.partial")) == (when == "while writing")

    steps_saved = read_state(at).step  # it is pruned later on
    recorder.steps.clear()
    resumed(replace(config, run=run, **changes), make_trainer, make_packs, at).run()
    assert [metrics.loss.hex() for metrics in recorder.steps] == expected[steps_saved:]
    assert same(newest_checkpoint(run), newest_checkpoint(whole.run))
    assert not list(run.glob("checkpoints/.*"))


LORA = LoraSettings(rank=2, alpha=4, dropout=0.2, whole=("source_patch_embedding", "blocks.0.norm3"))


@pytest.fixture
def lora_config(config, model, tmp_path):
    """A run that trains a LoRA on a small file."""
    save_safetensors(tmp_path / "base.safetensors", entries_of(model.state_dict()), metadata={
        "format": "loomvideo-dit", "config": model.config.to_json()
    })  # fmt: skip
    return replace(config, starts_from=tmp_path / "base.safetensors", lora=LORA, checkpoint=CheckpointSettings(every=2))


def lora_trainer(config, make_trainer, make_packs, folder=None):
    """A trainer of a LoRA, from its start or from a checkpoint."""
    torch.manual_seed(0)
    model = starting_model(config)
    adapters = add_lora(model, config, is_new=folder is None)
    optimiser = Optimiser(model, config.optimiser)
    ema = Ema(optimiser.weights, decay=config.ema) if config.ema else None
    parts = {"model": model, "optimiser": optimiser, "ema": ema, "adapters": adapters}
    if folder is None:
        return make_trainer(config, **parts)
    state = load_checkpoint(folder, **parts)
    return make_trainer(config, **parts, state=state, packs=make_packs(seed=config.seed, **state.data["0"]))


@pytest.mark.parametrize(
    ("precision", "kind"),
    [
        ("fp32", "adamw"),
        ("bf16", "adamw"),
        ("bf16-autocast", "adamw"),
        pytest.param("bf16", "muon", marks=NEEDS_MUON),
    ],
)
def test_a_lora_goes_on_bit_for_bit_and_its_base_stays(
    tmp_path, lora_config, make_trainer, make_packs, recorder, precision, kind
):
    whole = replace(lora_config, run=tmp_path / "whole", precision=precision, steps=6)
    whole = replace(whole, optimiser=replace(whole.optimiser, kind=kind))
    trainer = lora_trainer(whole, make_trainer, make_packs)
    before = {name: w.clone() for name, w in trainer.model.named_parameters() if not w.requires_grad}
    trainer.run()
    expected = [metrics.loss.hex() for metrics in recorder.steps]
    after = dict(trainer.model.named_parameters())
    assert len(before) > 50 and all(torch.equal(weight, after[name]) for name, weight in before.items())

    halves = replace(whole, run=tmp_path / "halves", steps=3)
    recorder.steps.clear()
    lora_trainer(halves, make_trainer, make_packs).run()
    lora_trainer(replace(halves, steps=6), make_trainer, make_packs, newest_checkpoint(halves.run)).run()
    assert [metrics.loss.hex() for metrics in recorder.steps] == expected
    assert same(newest_checkpoint(halves.run), newest_checkpoint(whole.run))


def test_a_checkpoint_of_a_lora_has_the_lora_alone(lora_config, make_trainer, make_packs):
    trainer = lora_trainer(lora_config, make_trainer, make_packs)
    trainer.run()
    folder = newest_checkpoint(lora_config.run)
    assert {path.name for path in folder.iterdir()} == {
        "lora.safetensors", "lora_ema.safetensors", "optimiser.safetensors", "rng.safetensors", "state.json"
    }  # fmt: skip
    live, averaged = (open_checkpoint(lora_config.run, ema=ema) for ema in (False, True))
    assert (live.files[0].name, averaged.files[0].name) == ("lora.safetensors", "lora_ema.safetensors")
    assert live.metadata["rank"] == "2" and live.metadata["step"] == "6"
    lora = open_lora(lora_config.run, shapes_of(trainer.model.config), ema=False)
    layer = trainer.model.blocks[1].ffn[0]
    torch.testing.assert_close(lora.delta("blocks.1.ffn.0.weight"), 2 * layer.lora_B.weight @ layer.lora_A.weight)
    with pytest.raises(WeightsError, match=r"which is a LoRA.*expected a LoomVideo DiT"):
        load_dit(lora_config.run)


def test_a_lora_does_not_go_on_upon_other_weights(lora_config, make_trainer, make_packs):
    lora_trainer(replace(lora_config, steps=2), make_trainer, make_packs).run()
    tensors = load_file(lora_config.starts_from)
    tensors["head.head.bias"] += 1
    save_safetensors(lora_config.starts_from, entries_of(tensors), metadata={
        "format": "loomvideo-dit", "config": lora_config.model.dit_config().to_json()
    })  # fmt: skip
    with pytest.raises(WeightsError, match="was trained on other weights than those under starts_from"):
        lora_trainer(lora_config, make_trainer, make_packs, newest_checkpoint(lora_config.run))
