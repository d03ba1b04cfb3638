"""What is counted of a sampling is what its calls do; inside ComfyUI our node makes what `loom_core` makes."""

import os
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from benchmarks.flops import forward_flops, prepare_flops
from benchmarks.host import MOST_APART, STEPS, comparisons, costs, measure_apart, missing, peaks, unprepared
from benchmarks.live_memory import peak_live_bytes
from benchmarks.twin import make_run
from loom_core.types import Branch


@pytest.fixture
def run(model, workload):
    return make_run(model, workload)


def test_a_sampling_is_counted_whole(run, workload):
    model = run.model

    def sampling():
        prepared = model.prepare([run.condition], run.latents)
        return [model(run.latents, run.timestep, prepared) for _ in range(4)]

    found = costs(sampling, model, model.mllm_embedder)
    layers = workload.config.num_layers
    assert found.flops == prepare_flops(workload) + 4 * forward_flops(workload)
    assert (found.forwards, found.samples, found.projector, found.keys_values) == (4, 4, layers, layers)
    sampling()
    assert found.peak == peak_live_bytes(sampling) > found.forward_peak > 0


def test_the_peak_of_a_forward_is_its_own(run):
    def sampling():
        beside = torch.zeros(1_000_000)
        made = run.cached()
        return made + beside.sum()

    run.cached()  # makes the table of turns, which stays
    whole, forward = peaks(sampling, run.model)
    assert forward == peak_live_bytes(run.cached)
    assert whole == 4_000_000 + forward
    assert not run.model._forward_hooks and not run.model._forward_pre_hooks


def test_each_is_compared_with_its_like(run):
    one = asdict(costs(run.cached, run.model, run.model.mllm_embedder))
    found = {name: {**one, "flops": number} for number, name in enumerate(("alone", "nodes", "wan", "text"), start=1)}
    made = {comparison.key: comparison for comparison in comparisons(found)}
    assert made["host_flops_alone"].ratio == pytest.approx(1 / 2)
    assert made["host_flops_wan"].ratio == pytest.approx(3 / 4)
    assert made["host_projector_unprepared"].first.value == STEPS * 3 * 3
    assert len(made) == 14


def test_without_comfyui_it_is_said_what_is_needed(monkeypatch):
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    assert "COMFYUI_PATH" in missing()


def test_inside_comfyui():
    if "COMFYUI_PATH" not in os.environ:
        pytest.skip("needs a ComfyUI checkout: set COMFYUI_PATH (and COMFYUI_PYTHON)")
    found = measure_apart(Path(os.environ["COMFYUI_PATH"]), os.environ.get("COMFYUI_PYTHON", sys.executable))
    alone, nodes, text, wan = (found[name] for name in ("alone", "nodes", "text", "wan"))
    assert found["error"] < MOST_APART
    assert nodes["samples"] == alone["samples"] == STEPS * len(Branch)
    assert nodes["projector"] == alone["projector"] < nodes["samples"]
    assert alone["flops"] < nodes["flops"] < unprepared()["flops"]
    assert text["samples"] == wan["samples"] == 2 * STEPS
    assert text["projector"] < wan["projector"]
    assert text["forward_peak"] < wan["forward_peak"]
