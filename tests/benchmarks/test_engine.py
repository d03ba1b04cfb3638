import json
import sys

import pytest

from benchmarks import engine, full_size, load_memory, twin
from benchmarks.report import Comparison, Figure


def section(key):
    return lambda: iter(
        [Comparison(key=key, title=key, first=Figure("a", 2), second=Figure("b", 1), unit="s", conditions="none")]
    )


@pytest.fixture
def output(monkeypatch, tmp_path):
    for module, key in ((full_size, "counted"), (twin, "timed"), (load_memory, "loaded")):
        monkeypatch.setattr(module, "measure", section(key))
    monkeypatch.setattr(sys, "argv", ["engine", "--output", str(tmp_path / "engine.json")])
    return tmp_path / "engine.json"


def test_one_run_writes_all_sections(output, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(load_memory, "STATUS", tmp_path)
    engine.main()
    content = json.loads(output.read_text())
    assert [one["key"] for one in content["comparisons"]] == ["counted", "timed", "loaded"]
    assert "2.000 x" in capsys.readouterr().out


def test_what_cannot_be_measured_is_said(output, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(load_memory, "STATUS", tmp_path / "missing")
    engine.main()
    content = json.loads(output.read_text())
    assert [one["key"] for one in content["comparisons"]] == ["counted", "timed"]
    assert "not measured" in content["notes"][0]
    assert content["notes"][0] in capsys.readouterr().out
