"""The command that tells how often a model does what it is asked."""

from __future__ import annotations

import json
import weakref

import pytest

from loom_core.cli.evaluate import main
from loom_core.errors import ConfigError, OutputError, WeightsError
from loom_core.evaluation.suite import run_suite

FAST = ["--samples", "3", "--steps", "1", "--tasks", "edit-image", "text-to-image", "--quiet"]


def test_it_prints_tables_and_writes_json_and_pictures(tmp_path, capsys):
    arguments = [*FAST, "--json", str(tmp_path / "scores.json"), "--grids", str(tmp_path / "grids")]
    assert main([*arguments, "--seed", "4", "--batch", "2"]) == 0
    printed = capsys.readouterr().out
    assert "| edit-image |" in printed
    assert "mean over tasks" in printed
    result = json.loads((tmp_path / "scores.json").read_text())
    assert {"mean", "per_task", "per_edit_kind", "unchanged_psnr", "counts", "asked"} < set(result)
    assert set(result["per_task"]) == {"edit-image", "text-to-image"}
    assert result["counts"]["samples"] == len(result["details"]) == 3
    assert (result["settings"]["seed"], result["settings"]["suite"]) == (4, "tiny")
    assert result["settings"]["sampling"]["edit-image"]["num_inference_steps"] == 1
    assert len(result["settings"]["weights_sha256"]) == 64
    assert list((tmp_path / "grids").glob("*.png"))


def test_the_same_seed_gives_the_same(tmp_path):
    results = []
    for batch in ("1", "3"):
        path = tmp_path / f"{batch}.json"
        main([*FAST, "--json", str(path), "--batch", batch])
        results.append(json.loads(path.read_text()))
    assert [one["key"] for one in results[0]["details"]] == [one["key"] for one in results[1]["details"]]
    assert results[0]["unchanged_psnr"] == pytest.approx(results[1]["unchanged_psnr"], abs=0.05)


def test_pictures_are_let_go_of(monkeypatch):
    """Of a suite of any length only those are in memory that are worked on."""
    alive = []

    def watched(plan, sampler, **options):
        for answer in run_suite(plan, sampler, **options):
            alive.append(weakref.ref(answer))
            yield answer
            del answer
            assert sum(reference() is not None for reference in alive) <= 1

    monkeypatch.setattr("loom_core.evaluation.suite.run_suite", watched)
    monkeypatch.setattr("loom_core.evaluation.suite._CHUNK", 1)
    assert main([*FAST, "--batch", "1"]) == 0
    assert len(alive) == 3


def test_the_judge_can_be_checked(capsys):
    assert main(["--check-judge", "--samples", "4", "--frames", "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "truth: 4 of 4 judged right, 4 should be" in lines
    assert any(line.startswith("noise: 0 of 4") for line in lines)


@pytest.mark.parametrize("option", ["--json", "--grids"])
def test_a_check_of_the_judge_writes_nothing(option, tmp_path):
    with pytest.raises(ConfigError, match=f"--check-judge with {option}"):
        main(["--check-judge", "--samples", "1", option, str(tmp_path / "results")])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--suite", "large"], ConfigError),
        (["--samples", "0"], ConfigError),
        (["--batch", "0"], ConfigError),
        (["--kinds", "paint"], ConfigError),
        (["--model", "nowhere"], WeightsError),
        (["--json", "no/such/folder/scores.json"], OutputError),
        (["--grids", __file__], OutputError),
    ],
)
def test_wrong_requests_are_told_at_once(arguments, error):
    with pytest.raises(error):
        main(arguments)
