import json

import pytest

from benchmarks import __main__ as command
from benchmarks import registry
from benchmarks.registry import Benchmark
from benchmarks.report import Comparison, Figure


def benchmark(key, *, missing=None):
    found = Comparison(key=key, title=key, first=Figure("a", 2), second=Figure("b", 1), unit="s", conditions="none")
    return Benchmark(about=f"about {key}", seconds=1, measure=lambda: iter([found]), missing=lambda: missing)


@pytest.fixture
def found(monkeypatch):
    """What the command finds; a test fills it."""
    benchmarks = {}
    monkeypatch.setattr(command, "find", lambda names: {n: b for n, b in benchmarks.items() if not names or n in names})
    return benchmarks


def test_every_benchmark_has_a_file_of_its_own(found, capsys, tmp_path):
    found.update(one=benchmark("first"), two=benchmark("second"))
    assert command.main(["--output", str(tmp_path)]) == 0
    keys = {path.stem: json.loads(path.read_text())["comparisons"][0]["key"] for path in tmp_path.iterdir()}
    assert keys == {"one": "first", "two": "second"}
    assert "2.000 x" in capsys.readouterr().out


def test_names_choose(found, tmp_path):
    found.update(one=benchmark("first"), two=benchmark("second"))
    command.main(["two", "--output", str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == ["two.json"]


def test_what_cannot_be_measured_is_said_and_keeps_its_results(found, capsys, tmp_path):
    found.update(one=benchmark("first", missing="It needs a moon."), two=benchmark("second"))
    (tmp_path / "one.json").write_text("from another machine")
    assert command.main(["--output", str(tmp_path)]) == 0
    assert "one: not measured. It needs a moon." in capsys.readouterr().out
    assert (tmp_path / "one.json").read_text() == "from another machine"
    assert (tmp_path / "two.json").exists()


def test_one_that_writes_its_own_file_is_given_its_place(found, capsys, tmp_path):
    found.update(one=Benchmark(about="about one", seconds=1, write=lambda path: path.write_text(path.name)))
    assert command.main(["--output", str(tmp_path)]) == 0
    assert (tmp_path / "one.json").read_text() == "one.json"
    assert "s of processor time" in capsys.readouterr().out


def test_the_list_measures_nothing(capsys, tmp_path):
    assert command.main(["--list", "--output", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in registry.NAMES)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_name_is_refused_with_those_there_are(capsys, tmp_path):
    assert command.main(["fast", "--output", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert "fast" in message
    assert all(name in message for name in registry.NAMES)
