"""`python -m benchmarks.ablations`, without its runs."""

import json

import pytest

from benchmarks.ablations import __main__ as command
from benchmarks.ablations.comparisons import VARIANTS
from benchmarks.ablations.running import SMOKE
from loom_core.errors import CancelledError, ConfigError


def test_runs_go_seed_after_seed(tmp_path):
    runs = command.chosen_runs(["rl", "as-shipped", "rl"], [2, 0], size=SMOKE, work=tmp_path)
    assert [(run.variant.name, run.seed) for run in runs] == [
        ("rl", 2),
        ("as-shipped", 2),
        ("rl", 0),
        ("as-shipped", 0),
    ]
    with pytest.raises(ConfigError, match="no-such"):
        command.chosen_runs(["no-such"], [0], size=SMOKE, work=tmp_path)


def test_a_run_that_fails_keeps_none_of_the_others(tmp_path, monkeypatch, make_result, capsys):
    made = []

    def finish(run):
        made.append(run.variant.name)
        if run.variant.name == "last-layer":
            raise ConfigError("something")
        return make_result(run.variant.name, run.seed, loss=0.5)

    monkeypatch.setattr(command, "finish", finish)
    names = ["as-shipped", "last-layer", "rl"]
    failures = command.make_all(command.chosen_runs(names, [0], size=SMOKE, work=tmp_path))
    assert made == names
    assert len(failures) == 1 and failures[0].startswith("last-layer, seed 0: found something")
    assert "rl, seed 0: 10 steps, 2.000 TFLOP, loss 0.5000" in capsys.readouterr().out


def test_a_stop_ends_it_all(tmp_path, monkeypatch):
    def finish(run):
        raise CancelledError("a stop")

    monkeypatch.setattr(command, "finish", finish)
    with pytest.raises(CancelledError):
        command.make_all(command.chosen_runs(["rl"], [0], size=SMOKE, work=tmp_path))


def test_smoke_leaves_the_docs_alone(tmp_path, monkeypatch, make_result):
    """Its page is beside its runs, written from the text of the docs' page."""

    def finish(run):
        result = make_result(run.variant.name, run.seed, loss=0.5)
        run.folder.mkdir(parents=True)
        run.result_path.write_text(json.dumps(result))
        return result

    monkeypatch.setattr(command, "finish", finish)
    before = command.PAGE.read_bytes()
    assert command.main(["--smoke", "--work", str(tmp_path), "--seeds", "0", "--variants", *list(VARIANTS)[:2]]) == 0
    assert command.PAGE.read_bytes() == before
    assert (tmp_path / "ablations.md").is_file() and (tmp_path / "ablations.json").is_file()
