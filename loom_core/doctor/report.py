"""Findings as lines for a terminal, and as a text that can be shown to others."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Sequence

from .. import __version__
from .finding import Finding, Level, Settings, count_words
from .privacy import Private, without_private

_WORDS = {Level.ERROR: "error", Level.WARNING: "warning", Level.NOTE: "ok"}
_WIDTH = 9


def lines_of(findings: Iterable[Finding], *, flags: Callable[[Settings], str] | None = None) -> list[str]:
    """A line a finding, and below it the command or the arguments that fix it.

    Args:
        findings: What is to be said.
        flags: Writes settings as arguments of a command; None leaves them out.
    """
    lines = []
    for finding in findings:
        lines.append(f"{_WORDS[finding.level]:<{_WIDTH}}{finding.check}: {finding.sentence}")
        if finding.command:
            lines.append(" " * _WIDTH + finding.command)
        if finding.settings and flags is not None:
            lines.append(" " * _WIDTH + flags(finding.settings))
    return lines


def report(findings: Sequence[Finding], facts: Sequence[str], *, private: Private) -> str:
    """A text to paste into an issue, in Markdown.

    Args:
        findings: What is to be said; notes too, since they tell of the machine.
        facts: Lines about what was asked.
        private: What must not be in it.
    """
    lines = [
        f"LoomVideo {__version__}, Python {platform.python_version()}, {platform.system()} {platform.release()} "
        f"{platform.machine()}",
        *facts,
        count_words(findings),
        *lines_of(findings),
    ]
    return without_private("\n".join(["```", *lines, "```"]), private)
