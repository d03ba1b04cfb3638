import json

import pytest

from benchmarks.targets import TARGETS, Target, read_results, table

KNOWN_TO_BE_MISSED = {"matrix_products_edit_480p81", "decode_tiling_720p_6gb", "load_time_safetensors"}


def found(ratio, first=0.0, second=0.0):
    return {"ratio": ratio, "first": {"value": first}, "second": {"value": second}}


@pytest.mark.parametrize(
    ("read", "bounds", "met"),
    [
        ("ratio", {"least": 2.0}, True),
        ("ratio", {"least": 2.1}, False),
        ("first", {"most": 8.0}, True),
        ("second", {"most": 3.9}, False),
        ("second", {"least": 3.9, "most": 4.1}, True),
    ],
)
def test_a_number_is_held_against_its_bounds(read, bounds, met):
    target = Target(measure="m", key="k", read=read, why="physics", **bounds)
    line = target.line({"k": found(2.0, 8.0, 4.0)})
    assert ("| yes |" in line) == met
    assert ("| no: physics |" in line) == (not met)


def test_time_over_operations():
    target = Target(measure="m", key="time", over="flops", least=0.9, most=1.1)
    assert target.value({"time": found(2.4), "flops": found(2.5)}) == pytest.approx(0.96)
    assert target.value({"time": found(2.4)}) is None


def test_what_was_not_measured_is_said():
    assert "not measured" in Target(measure="m", key="k", least=1).line({})


def test_results_of_another_form_are_passed_over(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([1, 2]))
    (tmp_path / "b.json").write_text(json.dumps({"comparisons": [{"key": "k", "ratio": 1.0}]}))
    assert list(read_results(tmp_path)) == ["k"]


def test_every_target_has_a_bound_and_says_why_where_it_is_missed(repo_root):
    results = read_results(repo_root / "benchmarks" / "results")
    assert all(target.least is not None or target.most is not None for target in TARGETS)
    assert "unexplained" not in table(TARGETS, results)
    values = {target.key: (target, target.value(results)) for target in TARGETS if target.why}
    missed = {key for key, (target, value) in values.items() if value is not None and not target.is_met(value)}
    assert missed <= KNOWN_TO_BE_MISSED  # a ready reason must not hide what once was met
    assert len({target.line({}) for target in TARGETS}) == len(TARGETS)
