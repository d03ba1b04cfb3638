"""`python -m loom_core.cli.parity DIR`: are the numbers still those of the official code?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..parity.run import run_folder
from .arguments import Parser
from .exits import run


def build_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = Parser(
        prog="python -m loom_core.cli.parity",
        description="Recompute recorded reference cases through the public code, and print a line a case. "
        "Ends with 1 when one fails.",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of reference cases, such as tests/golden")
    parser.add_argument("--only", default="", metavar="TEXT", help="run the cases whose name contains TEXT")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    arguments = build_parser().parse_args(argv)
    reports = []
    for report in run_folder(arguments.folder, only=arguments.only):
        print(report.line(), flush=True)
        reports.append(report)
    failed = sum(not report.ok for report in reports)
    print(f"{len(reports) - failed} of {len(reports)} cases ok" + (f", {failed} FAILED" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(run(main))
