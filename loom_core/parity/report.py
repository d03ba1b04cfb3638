"""Comparisons and their outcome."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Check:
    """One comparison.

    Args:
        name: Of the tensor or value.
        error: Largest absolute difference; infinite when sizes differ or a number is not finite.
        tolerance: What was allowed, absolute.
        ok: Whether it was within tolerance, the relative part included.
        note: Why it failed where a number does not say it.
    """

    name: str
    error: float
    tolerance: float
    ok: bool
    note: str = ""


@dataclass
class CaseReport:
    """All comparisons of one case."""

    name: str
    checks: list[Check] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether at least one comparison was made and all passed."""
        return bool(self.checks) and all(check.ok for check in self.checks)

    @property
    def worst(self) -> Check | None:
        """The failed check with the largest error, else the one that came nearest to its tolerance."""

        def badness(check: Check) -> tuple[bool, float, float]:
            return not check.ok, check.error / check.tolerance if check.tolerance else check.error, check.tolerance

        return max(self.checks, key=badness, default=None)

    def close(self, name: str, actual: Tensor, expected: Tensor, *, atol: float, rtol: float = 1e-5) -> None:
        """Compare two tensors number by number: |actual - expected| <= atol + rtol * |expected|."""
        actual, expected = actual.detach().double(), expected.double()
        if actual.shape != expected.shape:
            note = f"size {tuple(actual.shape)} instead of {tuple(expected.shape)}"
            self.checks.append(Check(name, float("inf"), atol, False, note))
            return
        difference = (actual - expected).abs()
        error = float(difference.max()) if difference.numel() else 0.0
        ok = bool((difference <= atol + rtol * expected.abs()).all())
        self.checks.append(Check(name, error if error == error else float("inf"), atol, ok))  # noqa: PLR0124 - NaN

    def equal(self, name: str, actual: Any, expected: Any) -> None:
        """Compare two values that have to be the same: ids, strings, counts."""
        if isinstance(actual, Tensor) and isinstance(expected, Tensor):
            ok = actual.shape == expected.shape and torch.equal(actual.long(), expected.long())
        else:
            ok = actual == expected
        note = "" if ok else f"{str(actual)[:80]!r} instead of {str(expected)[:80]!r}"
        self.checks.append(Check(name, 0.0 if ok else float("inf"), 0.0, ok, note))

    def relative(self, name: str, actual: Tensor, expected: Tensor, *, limit: float) -> None:
        """Compare by the relative L2 distance, for low-precision runs."""
        actual, expected = actual.detach().double(), expected.double()
        error = float((actual - expected).norm() / expected.norm())
        self.checks.append(Check(name, error, limit, error <= limit))

    def failed(self, note: str) -> None:
        """Record that the case could not be run."""
        self.checks.append(Check("run", float("inf"), 0.0, False, note))

    def line(self) -> str:
        """One line: name, ok or FAIL, largest error, tolerance."""
        worst = self.worst
        if worst is None:
            return f"{self.name:42s} FAIL  nothing was compared"
        text = (
            f"{self.name:42s} {'ok  ' if self.ok else 'FAIL'}  error {worst.error:.1e}  tolerance {worst.tolerance:.1e}"
        )
        text += f"  ({len(self.checks)} compared)"
        if not self.ok:
            failures = [check.name for check in self.checks if not check.ok]
            text += f"  failed: {', '.join(failures[:5])}{' ...' if len(failures) > 5 else ''}"  # noqa: PLR2004
            text += f"  {worst.note}" if worst.note else ""
        return text
