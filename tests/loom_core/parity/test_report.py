"""What a report lets through, and what it says."""

from __future__ import annotations

import torch

from loom_core.parity.report import CaseReport


def test_report_refuses_wrong_sizes_nan_and_nothing():
    report = CaseReport("kind/case")
    assert not report.ok
    assert "nothing was compared" in report.line()
    report.close("same", torch.ones(2), torch.ones(2), atol=0)
    assert report.ok
    report.close("size", torch.ones(2), torch.ones(3), atol=1)
    report.close("nan", torch.tensor([torch.nan]), torch.zeros(1), atol=1)
    report.equal("ids", torch.tensor([1, 2]), torch.tensor([1, 3]))
    assert [check.ok for check in report.checks] == [True, False, False, False]


def test_distances_are_relative():
    report = CaseReport("kind/case")
    report.relative("near", torch.tensor([3.0, 4.04]), torch.tensor([3.0, 4.0]), limit=0.01)
    report.relative("far", torch.tensor([3.0, 4.06]), torch.tensor([3.0, 4.0]), limit=0.01)
    report.relative("nan", torch.tensor([torch.nan]), torch.ones(1), limit=1e9)
    assert [check.ok for check in report.checks] == [True, False, False]


def test_the_line_names_failures_before_near_misses():
    report = CaseReport("kind/case")
    report.close("almost", torch.tensor([0.9]), torch.zeros(1), atol=1.0)
    assert " ok " in report.line()
    assert "error 9.0e-01" in report.line()
    report.equal("words", "one", "two")
    assert report.worst.name == "words"
    assert "failed: words" in report.line()
    assert "'one' instead of 'two'" in report.line()
