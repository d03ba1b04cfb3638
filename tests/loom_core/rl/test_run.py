"""An RL run from its config on the procedural world: it answers, is rewarded, learns, saves, goes on, refuses."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import load_file

from loom_core.config.rl import RewardSettings, read_rl_config
from loom_core.config.training import LoraSettings
from loom_core.errors import ConfigError, WeightsError
from loom_core.rl.grpo import FlowGRPO
from loom_core.rl.nft import DiffusionNFT
from loom_core.rl.policy import REFERENCE_FILE, OldPolicy
from loom_core.rl.run import algorithm_of, old_policy, open_rl_trainer, plan_rl_run
from loom_core.training.checkpoint import newest_checkpoint
from loom_core.training.run import CONFIG_FILE
from loom_core.training.watch.observer import Observers, SilentObserver
from loom_core.training.watch.run_folder import watch_run
from loom_core.weights.detect import detect_config
from loom_core.weights.inspection import format_bytes
from loom_core.weights.reading import open_checkpoint

CPU = torch.device("cpu")


def trained(config, recorder):
    config.run.mkdir(exist_ok=True)
    observers = Observers(watch_run(config.run), recorder)
    return open_rl_trainer(plan_rl_run(config), device=CPU, observer=observers).run()


def test_it_learns_saves_and_goes_on_exactly(world, training):
    recorder = training.Recorder()
    trained(world, recorder)
    reference = (world.run / REFERENCE_FILE).read_bytes()
    trained(replace(world, steps=3), recorder)
    assert [metrics.step for metrics in recorder.steps] == [1, 2, 3]
    assert (world.run / REFERENCE_FILE).read_bytes() == reference
    assert read_rl_config(world.run / CONFIG_FILE) == replace(world, steps=3)

    whole = replace(world, steps=3, run=world.run.with_name("whole"))
    other = training.Recorder()
    trained(whole, other)
    assert [metrics.measures for metrics in other.steps] == [metrics.measures for metrics in recorder.steps]
    saved, again = (load_file(newest_checkpoint(run) / "model.safetensors") for run in (world.run, whole.run))
    assert all(torch.equal(tensor, again[name]) for name, tensor in saved.items())

    rows = [json.loads(line) for line in (world.run / "metrics.jsonl").read_text().splitlines()]
    measures = [row["measures"] for row in rows if row["event"] == "step"]
    assert {"reward", "reward/world-unchanged", "reward/sharpness", "kl", "size"} <= measures[0].keys()
    assert (world.run / "curve.png").is_file()

    with pytest.raises(ConfigError, match=r"rl.kl was 0.001 and is 0.5"):
        plan_rl_run(replace(world, rl=replace(world.rl, kl=0.5)))
    (world.run / REFERENCE_FILE).unlink()
    with pytest.raises(WeightsError, match=r"rl\.kl=0"):
        trained(replace(world, steps=4), recorder)


@pytest.fixture
def lora(world, tmp_path, small_dit):
    """The same run, of a LoRA on a file."""
    sizes = asdict(detect_config(open_checkpoint(small_dit)))
    del sizes["rope_precision"]
    return replace(
        world,
        starts_from=small_dit,
        model=replace(world.model, sizes={name: sizes[name] for name in world.model.sizes}),
        lora=LoraSettings(rank=2, alpha=4, whole=("source_patch_embedding",)),
    )


@pytest.mark.parametrize("algorithm", ["nft", "grpo"])
def test_a_lora_is_held_to_its_base_and_goes_on_exactly(lora, training, algorithm):
    """The reference is the model without it, of which nothing is kept."""
    lora = replace(lora, rl=replace(lora.rl, algorithm=algorithm, updates=2))
    recorder, other = training.Recorder(), training.Recorder()
    trained(lora, recorder)
    trained(replace(lora, steps=3), recorder)
    whole = replace(lora, steps=3, run=lora.run.with_name("whole"))
    trained(whole, other)
    assert [metrics.measures for metrics in other.steps] == [metrics.measures for metrics in recorder.steps]
    assert [metrics.measures["kl"] > 0 for metrics in other.steps] == [True] * 3  # of two updates, the second
    folders = [newest_checkpoint(run) for run in (lora.run, whole.run)]
    for name in ("lora.safetensors", "lora_ema.safetensors", "optimiser.safetensors"):
        saved, again = (load_file(folder / name) for folder in folders)
        assert saved.keys() == again.keys()
        assert all(torch.equal(tensor, again[key]) for key, tensor in saved.items())
    assert not (lora.run / REFERENCE_FILE).exists()


def test_a_lora_that_is_trained_further_is_held_to_what_it_was(lora, training):
    trained(lora, training.Recorder())
    further = replace(
        lora,
        run=lora.run.with_name("further"),
        lora=replace(lora.lora, starts_from=newest_checkpoint(lora.run) / "lora.safetensors"),
    )
    recorder = training.Recorder()
    trained(replace(further, steps=1), recorder)
    assert recorder.steps[0].measures["kl"] == 0  # one update: it has not moved when it is measured
    reference = load_file(further.run / REFERENCE_FILE)
    saved = load_file(newest_checkpoint(lora.run) / "lora.safetensors")
    name = "blocks.0.self_attn.q.lora_B.weight"
    assert torch.equal(reference[name], saved[f"diffusion_model.{name}"])
    assert bool(reference[name].any())

    unnamed = replace(further, lora=replace(further.lora, starts_from=None))  # a run that goes on may leave it out
    trained(unnamed, recorder)
    (further.run / REFERENCE_FILE).unlink()
    with pytest.raises(WeightsError, match="the weights that this run started with"):
        trained(replace(unnamed, steps=3), recorder)


def test_the_disk_has_to_hold_the_reference_too(world, lora):
    planned = {name: plan_rl_run(config) for name, config in (("whole", world), ("lora", lora))}
    assert planned["lora"].disk.beside == 0
    needed = planned["whole"].disk.beside
    assert f"with {format_bytes(needed)} that are kept beside" in planned["whole"].disk.lines()[0]
    disk = replace(planned["whole"].disk, least=1)
    replace(disk, free=disk.checkpoint + needed).check()
    with pytest.raises(ConfigError, match=r"for one checkpoint of .* and .* beside"):
        replace(disk, free=disk.checkpoint + needed - 1).check()
    open_rl_trainer(planned["whole"], device=CPU, observer=SilentObserver()).on_end()
    assert (world.run / REFERENCE_FILE).stat().st_size == pytest.approx(needed, rel=0.1)
    assert plan_rl_run(replace(world, rl=replace(world.rl, kl=0.0))).disk.beside == 0


def test_a_run_that_goes_on_from_another_takes_its_reference_along(world, training):
    trained(replace(world, steps=1), training.Recorder())
    there = newest_checkpoint(world.run)
    other = replace(world, steps=2, run=world.run.with_name("other"))
    assert plan_rl_run(world).disk.beside == 0
    plan = plan_rl_run(other, resume=there)
    assert plan.disk.beside > 0
    open_rl_trainer(plan, device=CPU, observer=SilentObserver()).run()
    kept, taken = (load_file(run / REFERENCE_FILE) for run in (world.run, other.run))
    assert all(torch.equal(weight, taken[name]) for name, weight in kept.items())
    assert plan_rl_run(replace(other, steps=3)).checkpoint == newest_checkpoint(other.run)


def test_kept_prompts_serve_answers_too(lora, training, tmp_path):
    """The MLLM is let go of before the model is loaded."""
    kept = replace(
        lora, steps=1, prompt_cache=tmp_path / "prompts", data=replace(lora.data, cache=tmp_path / "latents")
    )
    recorder = training.Recorder()
    trained(kept, recorder)
    assert len(recorder.steps) == 1
    assert any("let go of" in note for note in recorder.notes)
    with pytest.raises(ConfigError, match="prompt_cache in a run whose reward asks the MLLM"):
        replace(kept, rl=replace(kept.rl, rewards=(RewardSettings(kind="mllm-judge"),)))


def test_rewards_that_cannot_be_had_are_refused_before_anything_is_written(world):
    lacking = replace(world, rl=replace(world.rl, rewards=(RewardSettings(kind="pickscore"),)))
    with pytest.raises(WeightsError, match="the reward pickscore without weights"):
        plan_rl_run(lacking)
    assert not world.run.exists()


def test_the_config_names_algorithm_and_old_policy(world):
    assert isinstance(algorithm_of(world), DiffusionNFT)
    assert algorithm_of(world).plan().noise_level == 0
    drawn = algorithm_of(replace(world, rl=replace(world.rl, algorithm="grpo")))
    assert isinstance(drawn, FlowGRPO)
    assert drawn.plan().noise_level == world.rl.grpo.noise_level
    old = old_policy({"x": torch.zeros(1)}, world)
    assert isinstance(old, OldPolicy)
    assert (old.decay, old.ramp) == (0.5, 0.1)
    assert old_policy({}, replace(world, ema=0.0)) is None
