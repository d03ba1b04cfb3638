"""The report as JSON and as tables."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from loom_core.evaluation.report import markdown, samples_json, to_json


@pytest.fixture(scope="module")
def scores():
    path = Path(__file__).with_name("test_scores.py")
    spec = importlib.util.spec_from_file_location("scores_to_report", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.MANY


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
    assert "| edit-video | 50 % | 2 |" in text
    assert "| **mean over tasks** | **50 %**" in text
    assert "| of 2 | 50 % | 2 |" in text
    assert "| unchanged region | 50.0 dB |" in text
    assert "flicker" not in text


def test_of_nothing():
    assert to_json([], settings={})["mean"] is None
    assert "mean over tasks" in markdown([])
