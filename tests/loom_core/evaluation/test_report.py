"""The report as JSON and as tables."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import pytest

from loom_core.evaluation.collateral import Spill
from loom_core.evaluation.report import markdown, samples_json, to_json


@pytest.fixture(scope="module")
def scores():
    return _made_up().MANY


@pytest.fixture(scope="module")
def damaged():
    """One right, one right but for a damage, one that cannot be judged."""
    make = _made_up().score
    spilled = Spill("the ring", 40.0, 12.0)
    unseen = make("edit-image", "recolour", True)
    unseen = replace(unseen, verdict=replace(unseen.verdict, asks=(), is_asked_right=False))
    return [make("edit-image", "recolour", True), make("edit-image", "recolour", True, spilled=spilled), unseen]


def _made_up():
    path = Path(__file__).with_name("test_scores.py")
    spec = importlib.util.spec_from_file_location("scores_to_report", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_json_has_all_numbers(scores):
    result = json.loads(json.dumps(to_json(scores, settings={"seed": 3})))
    assert result["mean"] == pytest.approx(0.5)
    assert result["per_task"]["edit-video"] == 0.5
    assert result["per_edit_kind"] == {"recolour": 0.6667, "background": 1.0}
    assert result["references"] == {"by_count": {"1": 1.0, "2": 0.5}, "by_part": {"background": 0.6667}}
    assert result["unchanged_psnr"] == 50.0
    assert result["motion_agreement"] is None
    assert (result["counts"]["samples"], result["counts"]["right"], result["counts"]["invalid"]) == (7, 4, 0)
    assert result["counts"]["per_task"]["edit-video"] == 2
    assert result["interval_95"][0] <= result["mean"] <= result["interval_95"][1]
    assert result["settings"] == {"seed": 3}


def test_samples_have_their_asks(scores):
    details = samples_json(scores)
    assert len(details) == 7
    assert details[4]["asks"][1] == {
        "attribute": "background", "reference": None, "right": False, "seen": "plain grey", "error": 1.0, "margin": 9.0,
    }  # fmt: skip
    assert json.dumps(details)


def test_tables_for_people(scores):
    text = markdown(scores)
    assert "| edit-video | 50 % | 50 % | 2 |" in text
    low, high = (f"{100 * edge:.0f} %" for edge in to_json(scores, settings={})["interval_95"])
    assert f"| **mean over tasks** | **50 %** ({low} to {high})" in text
    assert "| of 2 | 50 % | 2 |" in text
    assert "| unchanged region | 50.0 dB |" in text
    assert "flicker" not in text


def test_both_rates_are_told_and_what_cannot_be_judged_is_left_out(damaged):
    result = json.loads(json.dumps(to_json(damaged, settings={})))
    assert (result["mean"], result["asked"]["mean"]) == (0.5, 1.0)
    assert (result["per_task"], result["asked"]["per_task"]) == ({"edit-image": 0.5}, {"edit-image": 1.0})
    assert result["asked"]["per_edit_kind"] == {"recolour": 1.0}
    assert result["asked"]["per_task_and_kind"] == {"edit-image/recolour": 1.0}
    counts = {"samples": 3, "right": 1, "asked_right": 2, "spilled": 1, "invalid": 1}
    assert {name: result["counts"][name] for name in counts} == counts
    text = markdown(damaged)
    assert "| edit-image | 50 % | 100 % | 2 |" in text
    assert "| recolour | 50 % | 100 % | 2 |" in text
    assert "| 100 % | 2 |" in next(line for line in text.splitlines() if "mean over tasks" in line)
    assert "1 more could not be judged" in text


def test_samples_say_what_else_changed(damaged):
    first, second, _ = samples_json(damaged)
    assert (first["right"], first["asked_right"], first["spilled"]) == (True, True, None)
    assert (second["right"], second["asked_right"]) == (False, True)
    assert second["spilled"] == {"where": "the ring", "error": 40.0, "limit": 12.0}


def test_of_nothing():
    assert to_json([], settings={})["mean"] is None
    assert "mean over tasks" in markdown([])
