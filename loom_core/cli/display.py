"""What a running command shows: phases, a progress bar with the time left, on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..protocols import StepReport


def counter(doing: str, *, gigabytes: bool = False) -> Callable[[int, int], None] | None:
    """What shows how much is done, of how much, on a line of stderr; None where nobody looks at it.

    Args:
        doing: What is done, as the line's first word.
        gigabytes: Bytes are counted, and shown as gigabytes.
    """
    if not sys.stderr.isatty():
        return None

    def show(done: int, total: int) -> None:
        told = f"{done / 1e9:6.2f} of {total / 1e9:.2f} GB" if gigabytes else f"{done} of {total}"
        print(f"\r{doing} {told}", end="\n" if done >= total else "", file=sys.stderr, flush=True)

    return show


class Display:
    """Phases, steps done and time left.

    Args:
        quiet: Show nothing.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._bar: Any = None

    def say(self, text: str) -> None:
        """Show a line."""
        if not self._quiet:
            print(text, file=sys.stderr, flush=True)

    def step(self, report: StepReport) -> None:
        """Show a denoising step."""
        if self._quiet:
            return
        if self._bar is None:
            from tqdm import tqdm

            # begun at the first report, but counted from when that step began
            self._bar = tqdm(total=report.num_steps, unit="step", desc="denoising", file=sys.stderr)
            self._bar.start_t -= report.elapsed_seconds
        self._bar.set_postfix_str(f"sigma {report.sigma:.2f}", refresh=False)
        self._bar.update(1)
        if report.step == report.num_steps:
            self.close()

    def close(self) -> None:
        """End the bar's line."""
        if self._bar is not None:
            self._bar.close()
