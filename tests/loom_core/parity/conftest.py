"""Recorded cases with one number changed: a check that is worth its name must notice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loom_core.parity.cases import Case
from loom_core.parity.report import CaseReport
from loom_core.parity.run import run_case


@pytest.fixture
def recheck(golden_dir: Path) -> Callable[..., CaseReport]:
    """Recompute the case "kind/stem", after `change` altered its tensors and its description in memory."""

    def run(name: str, change: Callable[[dict[str, Any], dict[str, Any]], None] | None = None) -> CaseReport:
        kind, stem = name.split("/")
        case = Case(golden_dir, kind, stem)
        if change is not None:
            has_tensors = (golden_dir / kind / f"{stem}.safetensors").is_file()
            tensors = {key: tensor.clone() for key, tensor in case.tensors.items()} if has_tensors else {}
            change(tensors, case.about)
            case.__dict__["tensors"] = tensors  # where the cached property keeps them
        return run_case(case)

    return run


@pytest.fixture
def failed() -> Callable[[CaseReport], list[str]]:
    """Names of the comparisons that failed."""
    return lambda report: [check.name for check in report.checks if not check.ok]
