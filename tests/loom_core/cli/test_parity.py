"""`python -m loom_core.cli.parity`: lines, sums and exit codes."""

from __future__ import annotations

import pytest

from loom_core.cli import parity
from loom_core.cli.exits import run
from loom_core.cli.parity import main
from loom_core.parity.report import CaseReport


def test_a_line_a_case_and_a_sum(golden_dir, capsys):
    assert run(main, [str(golden_dir), "--only", "training/functions"]) == 0
    line, total = capsys.readouterr().out.splitlines()
    assert line.startswith("training/functions")
    assert " ok " in line
    assert total == "1 of 1 cases ok"


def test_a_failure_is_counted_and_ends_with_1(golden_dir, capsys, monkeypatch):
    def half_wrong(folder, *, only):
        for name, expected in (("kind/right", 1), ("kind/wrong", 2)):
            report = CaseReport(name)
            report.equal("number", 1, expected)
            yield report

    monkeypatch.setattr(parity, "run_folder", half_wrong)
    assert main([str(golden_dir)]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "1 of 2 cases ok, 1 FAILED"


@pytest.mark.parametrize("arguments", [["--only", "nothing of this name"], []])
def test_nothing_to_compare_is_a_wrong_request(tmp_path, capsys, arguments):
    assert run(main, [str(tmp_path), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: found no reference case")
    assert error.count("\n") == 1
