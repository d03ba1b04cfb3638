"""Layouts and names."""

from __future__ import annotations

import pytest


def test_every_layout_is_loaded_and_compared(recheck, failed):
    def change(tensors, _about):
        tensors["velocity.ema"][0, 0, 0, 0, 0] += 1e-3

    assert failed(recheck("weights/load_check", change)) == ["velocity.ema"]
    report = recheck("weights/load_check")
    assert report.ok
    assert len(report.checks) == 6  # five ways to the same weights, and mixed number formats


@pytest.mark.parametrize(
    ("stem", "change"),
    [
        ("loomvideo_5b_keys", lambda about: about["keys"].popitem()),
        ("wan22_ti2v_5b_key_map", lambda about: about["mapping"].update({"proj_out.weight": "head.weight"})),
        ("layout", lambda about: about["keys"].popitem()),
    ],
)
def test_a_changed_table_is_noticed(recheck, stem, change):
    assert recheck(f"weights/{stem}").ok
    assert not recheck(f"weights/{stem}", lambda _tensors, about: change(about)).ok


def test_an_unknown_case_is_a_failure(recheck, golden_dir, tmp_path):
    from loom_core.parity.cases import Case
    from loom_core.parity.run import run_case

    report = run_case(Case(tmp_path, "weights", "of tomorrow"))
    assert not report.ok
    assert "no check for weights/of tomorrow" in report.line()
