import json
import platform

import pytest

from benchmarks.report import Comparison, Figure, environment, write_results


@pytest.fixture
def comparison():
    return Comparison(
        key="k", title="work", first=Figure("slow", 6.0), second=Figure("fast", 4.0), unit="s", conditions="a test"
    )


def test_ratio_and_line(comparison):
    assert comparison.ratio == 1.5
    for part in ("1.500 x", "work", "slow 6 s", "fast 4 s", "[a test]"):
        assert part in comparison.line()


def test_written_results_can_be_read(comparison, tmp_path):
    path = tmp_path / "new" / "part.json"
    write_results(path, [comparison])
    content = json.loads(path.read_text())
    assert content["comparisons"][0]["ratio"] == 1.5
    assert content["comparisons"][0]["first"] == {"name": "slow", "value": 6.0}
    assert content["environment"]["torch"]
    assert [file.name for file in path.parent.iterdir()] == ["part.json"]


def test_no_part_of_a_file_stays(tmp_path):
    (tmp_path / "part.json").mkdir()
    with pytest.raises(OSError):
        write_results(tmp_path / "part.json", [])
    assert [file.name for file in tmp_path.iterdir()] == ["part.json"]


def test_environment_names_no_machine():
    assert platform.node() not in json.dumps(environment())
