"""Tables as they are recorded: the sizes stand in the description."""

from __future__ import annotations

from pathlib import Path

from loom_core.geometry import LatentShape
from loom_core.models.rope import rope_table
from loom_core.parity.cases import Case
from loom_core.parity.dit import full_table
from loom_core.parity.report import CaseReport
from loom_core.parity.rope import check_tables


def recorded(*, wrong_index=False):
    """A case as the official code would leave it: a target's table and a rounded one of a reference."""
    shape = LatentShape(2, 4, 6)
    tables = {
        "hd12.target": rope_table(shape, 12),
        "hd12.bf16_ref-20": rope_table(shape, 12, temporal_index=20 if wrong_index else -20, rounded=True),
    }
    case = Case(Path(), "ref_rope", "made")
    case.__dict__["tensors"] = {
        f"{name}_{part}": full_table(getattr(table, part)) for name, table in tables.items() for part in ("cos", "sin")
    }
    meaning = {"meaning": "table of T,H,W=(2, 4, 6)"}
    case.__dict__["about"] = {
        "axis_dims": {"12": {"t_dim": 4, "h_dim": 4, "w_dim": 4}},
        "tensors": {"hd12.target_cos": meaning, "hd12.ref-20_cos": meaning},
    }
    return case


def test_targets_and_references_are_compared():
    report = CaseReport("ref_rope/made")
    check_tables(recorded(), report)
    assert report.ok
    assert len(report.checks) == 5


def test_a_reference_at_another_time_is_noticed():
    report = CaseReport("ref_rope/made")
    check_tables(recorded(wrong_index=True), report)
    assert [check.name for check in report.checks if not check.ok] == ["hd12.bf16_ref-20_sin"]
