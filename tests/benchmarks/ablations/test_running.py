"""When a run ends and what it leaves."""

import json
import shutil
from dataclasses import replace

import pytest

from benchmarks.ablations import running
from benchmarks.ablations.comparisons import VARIANTS, Judged, Part
from benchmarks.ablations.meter import Meter
from benchmarks.ablations.running import SMOKE, Run, Size, Watch, finish, result_of
from loom_core.errors import ConfigError
from loom_core.training.watch.observer import RunAbout, StepMetrics, ValidationLoss, ValidationMetrics

SMALL = replace(
    SMOKE,
    budget=6e7,
    judged_samples=1,
    judged_steps=1,
    overrides=(
        "data.max_samples_per_pack=2", "noise_draws=1", "validation.samples=2", "validation.levels_per_sample=1",
        "model.sizes={hidden_size: 24, num_heads: 2, head_dim: 12, num_layers: 2, ffn_dim: 32, time_embed_dim: 16}",
    ),
)  # fmt: skip
"""A model of next to nothing."""


def step(number):
    return StepMetrics(step=number, steps=99, loss=1.0, grad_norm=1.0, lr=1.0, tokens=1, samples=3, seconds=0.0)


@pytest.fixture
def watch():
    """Of a budget of 100, measured at 0, 50 and 100."""
    watch = Watch(Meter(), 100.0, [0.0, 50.0, 100.0])
    losses = (ValidationLoss(task="edit-image", noise="low", loss=0.5, count=1),)
    watch.validate = lambda number: ValidationMetrics(step=number, losses=losses)
    watch.on_start(RunAbout(name="", folder=None, steps=99))
    return watch


def test_the_first_step_beyond_the_budget_ends_a_part(watch):
    told = []
    for number, flops in enumerate([30, 60, 90, 120], start=1):
        assert not watch.is_spent
        watch.meter.flops = flops
        watch.on_step(step(number))
        told.append(watch.meter._is_on)
    assert watch.is_spent and (watch.steps, watch.samples) == (4, 12)
    assert told == [True, True, True, False]  # what comes after the budget does not count
    assert [point["flops"] for point in watch.curve] == [0, 60, 120]
    assert [point["samples"] for point in watch.curve] == [0, 6, 12]


def test_a_mark_that_is_leapt_over_is_measured_once(watch):
    watch.meter.flops = 130
    watch.on_step(step(1))
    assert [point["flops"] for point in watch.curve] == [0, 130]


def test_without_a_budget_only_the_start_is_measured():
    watch = Watch(Meter(), 0.0, [0.0])
    watch.validate = lambda number: ValidationMetrics(step=number, losses=())
    watch.on_start(RunAbout(name="", folder=None, steps=99))
    assert watch.is_spent and len(watch.curve) == 1 and not watch.meter._is_on


def test_fingerprint_is_that_of_settings(tmp_path):
    run = Run(VARIANTS["as-shipped"], 0, Size(), tmp_path)
    assert run.fingerprint() == replace(run, seed=1, work=tmp_path / "elsewhere").fingerprint()
    others = [
        replace(run, variant=VARIANTS["last-layer"]),
        replace(run, size=replace(run.size, budget=1.0)),
        replace(run, size=replace(run.size, overrides=("optimiser.lr=1e-5",))),
    ]
    assert len({run.fingerprint(), *(other.fingerprint() for other in others)}) == 4


def test_results_of_other_built_in_weights_are_told_apart(tmp_path, monkeypatch):
    """The DiT matters to those alone that start from it, codec and MLLM to all."""
    assets = tmp_path / "loom_tiny"
    shutil.copytree(running.BUILT_IN, assets)
    monkeypatch.setattr(running, "BUILT_IN", assets)
    monkeypatch.setattr(running, "DIT", assets / "dit.safetensors")

    def fingerprints():
        running.built_in_digest.cache_clear()
        return [Run(VARIANTS[name], 0, Size(), tmp_path).fingerprint() for name in ("as-shipped", "rl")]

    first = fingerprints()
    (assets / "dit.safetensors").write_bytes(b"other weights")
    second = fingerprints()
    (assets / "mllm" / "model.safetensors").write_bytes(b"other weights")
    third = fingerprints()
    running.built_in_digest.cache_clear()
    assert first[0] == second[0] != third[0]
    assert len({first[1], second[1], third[1]}) == 3


def test_a_run_in_two_parts(tmp_path):
    """From captions to edits: counted, judged, cleaned up, not made again; refused where settings changed."""
    small = Judged(tasks=("edit-image",), kinds=("style",))
    run = Run(replace(VARIANTS["stage-1-first"], judged=small), 1, SMALL, tmp_path)
    interrupted = run.folder / "part-0"
    interrupted.mkdir(parents=True)
    (interrupted / "left").write_text("of a run that was stopped")
    result = finish(run)
    assert result == json.loads(run.result_path.read_text()) == result_of(run)
    assert SMALL.budget <= result["flops"] < 1.5 * SMALL.budget
    assert result["steps"] >= 2 and result["samples"] == 2 * result["steps"] == result["passes"]
    assert result["tokens"] == 16 * result["passes"]
    assert result["curve"][0]["flops"] >= 0.2 * SMALL.budget and result["curve"][-1]["flops"] == result["flops"]
    assert result["judged"]["samples"] == 1
    assert [path.name for path in run.folder.iterdir()] == [running.RESULT_FILE]
    assert any((tmp_path / "latents").rglob("*.safetensors")) and any((tmp_path / "prompts").rglob("*.safetensors"))
    shutil.rmtree(tmp_path / "prompts")
    assert finish(run) == result and not (tmp_path / "prompts").exists()
    with pytest.raises(ConfigError, match="other settings"):
        finish(replace(run, size=replace(SMALL, budget=7e7)))


def test_the_built_in_model_is_measured_as_it_is(tmp_path):
    small = Judged(tasks=("edit-image",), kinds=("style",))
    size = replace(SMALL, overrides=SMALL.overrides[:-1])
    result = finish(Run(replace(VARIANTS["built-in"], judged=small), 0, size, tmp_path))
    assert result["flops"] == result["steps"] == 0
    assert result["curve"][-1]["loss"] < 0.6  # a model from nothing has about 2


def test_rl_spends_its_budget(tmp_path):
    small = Judged(tasks=("edit-image",), kinds=("style",))
    size = replace(SMALL, budget=1e9, overrides=SMALL.overrides[:-1])
    variant = replace(VARIANTS["rl"], parts=(Part("rl"),), judged=small)
    result = finish(Run(variant, 0, size, tmp_path))
    assert result["steps"] == 1  # a round costs more than that
    assert result["flops"] >= 1e9 and result["curve"][-1]["flops"] == result["flops"]
