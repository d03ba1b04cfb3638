"""What the benchmark counts and compares, its command on small parts, and that the page shows what the results hold."""

from __future__ import annotations

import json
import re

import pytest
import torch

from benchmarks import shortcuts
from loom_core.config.speed import EXACT, SPEEDS
from loom_core.types import Branch

ROW = re.compile(r"^\| `(\w[\w-]*)` \| ([^|]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) dB \|$", re.MULTILINE)


@pytest.fixture(scope="module")
def results(repo_root):
    return json.loads((repo_root / "benchmarks" / "results" / "shortcuts.json").read_text(encoding="utf-8"))


def test_every_way_is_held_against_the_exact_one():
    exact = torch.tensor([3.0, 4.0])
    made = {EXACT: exact, "other": exact + torch.tensor([0.3, 0.4])}
    frames = {EXACT: torch.zeros(1, 2, 2, 3, dtype=torch.uint8), "other": torch.ones(1, 2, 2, 3, dtype=torch.uint8)}
    forwards = {EXACT: {Branch.FULL: 10, Branch.VISUAL: 10}, "other": {Branch.FULL: 8, Branch.VISUAL: 2}}
    same, other = shortcuts.compare(made, frames, forwards, flops={Branch.FULL: 300, Branch.VISUAL: 100})
    assert (same.forwards_ratio, same.flops_ratio, same.error, same.psnr) == (1, 1, 0, None)
    assert other.forwards == {"full": 8, "visual": 2}
    assert other.forwards_ratio == pytest.approx(20 / 10)
    assert other.flops_ratio == pytest.approx(4000 / 2600)
    assert other.error == pytest.approx(0.1)
    assert other.psnr == pytest.approx(48.13, abs=0.01)


def test_the_command_runs_on_a_model_of_ones_own(small_dit, small_files, still, tmp_path):
    output, pictures = tmp_path / "mine.json", tmp_path / "pictures"
    parts = ["--model", small_dit, "--mllm", small_files.mllm, "--vae", small_files.codec, "--device", "cpu"]
    request = ["--prompt", "Make it colder.", "--source", still, "--steps", 9, "--output", output]
    shortcuts.main([*map(str, [*parts, *request, "--pictures", pictures])])
    (case,) = json.loads(output.read_text(encoding="utf-8"))["cases"]
    by_way = {one["way"]: one for one in case["outcomes"]}
    assert list(by_way) == list(shortcuts.WAYS)
    assert by_way[EXACT]["forwards"] == {"unconditional": 9, "visual": 9, "full": 9}
    assert by_way["half the steps"]["forwards"]["full"] == 4
    every_third = by_way["guidance every 3rd step"]
    assert every_third["forwards"]["full"] == 9 > every_third["forwards"]["visual"]
    assert every_third["forwards_ratio"] != every_third["flops_ratio"] > 1  # the branches cost differently
    assert [path.name for path in pictures.iterdir()] == ["edit-image.png"]


def test_results_are_of_the_ways_and_speeds_of_now(results):
    assert list(results["ways"]) == list(shortcuts.WAYS)
    for name, speed in SPEEDS.items():
        assert results["ways"][name]["shortcuts"]["reuse_threshold"] == speed.shortcuts.reuse_threshold
    assert {case["task"] for case in results["cases"]} == {"edit-video", "reference-edit", "text-to-video"}


def test_speeds_keep_what_they_promise(results):
    """Both beat half the steps; fast at no more forward passes."""
    for case in results["cases"]:
        ways = {one["way"]: one for one in case["outcomes"]}
        assert ways["balanced"]["forwards_ratio"] > 1.4
        assert ways["fast"]["forwards_ratio"] >= ways["half the steps"]["forwards_ratio"]
        assert ways["balanced"]["error"] < ways["fast"]["error"] < ways["half the steps"]["error"]


def test_the_page_shows_the_results(results, repo_root):
    measured = {(case["task"], one["way"]): one for case in results["cases"] for one in case["outcomes"]}
    shown = ROW.findall((repo_root / "docs" / "performance.md").read_text(encoding="utf-8"))
    assert len(shown) == len(results["cases"]) * (len(shortcuts.WAYS) - 1)
    for task, way, forwards, flops, error, decibels in shown:
        one = measured[task, way]
        assert f"{one['forwards_ratio']:.2f} {one['flops_ratio']:.2f}" == f"{forwards} {flops}", way
        assert f"{one['error']:.4f} {one['psnr']:.1f}" == f"{error} {decibels}", way
