"""The page shows what the results file holds."""

import json
import re

import pytest

ROW = re.compile(r"^\|.*\| \*\*([\d.]+)\*\* \|.*\| `(\w+)` \|$", re.MULTILINE)


def test_ratios_of_the_page_are_those_of_the_results(repo_root):
    files = [repo_root / "benchmarks" / "results" / f"{name}.json" for name in ("engine", "streaming")]
    results = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    measured = {one["key"]: one["ratio"] for result in results for one in result["comparisons"]}
    shown = ROW.findall((repo_root / "docs" / "performance.md").read_text(encoding="utf-8"))
    assert len(shown) > 20
    for ratio, key in shown:
        # Counts never change. A later run, on another machine, may measure something else: only slips are looked for.
        tolerance = 0.5 if key.startswith(("twin_time", "time", "load")) else 0.001
        assert float(ratio) == pytest.approx(measured[key], rel=tolerance, abs=0.0006), key
