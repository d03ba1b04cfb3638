"""The whole pre-flight of a prompt, as the JSON that the browser gets."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...loom_core.doctor.finding import Finding, Level
from ...loom_core.doctor.privacy import Private
from ...loom_core.doctor.report import report
from .checks import CHECKS
from .graph import PromptGraph
from .places import Placed
from .reading import Host, Reading

VERSION = 1
"""Of the form of the answer; see docs/preflight.md."""


def answer(prompt: Any, host: Host, *, with_report: bool = False) -> dict[str, Any]:
    """What is to be said about a prompt.

    Args:
        prompt: In the form of the host's HTTP interface.
        host: Knows files and machine.
        with_report: Also all of it as a text for an issue, without private paths.

    Raises:
        ConfigError: It is no prompt.
    """
    graph = PromptGraph(prompt)
    reading = Reading(graph, host)
    found = [one for check in CHECKS for one in check(reading)]
    found += [Placed(finding) for finding in _of_host(reading)]
    seen: Mapping[tuple[str, str], Placed] = {(one.finding.sentence, one.node): one for one in reversed(found)}
    kept = [one for one in found if seen[one.finding.sentence, one.node] is one]
    levels = [one.finding.level for one in kept]
    made = {
        "version": VERSION,
        "errors": levels.count(Level.ERROR),
        "warnings": levels.count(Level.WARNING),
        "findings": [one.to_dict() for one in kept],
    }
    return {**made, "report": _report(graph, kept)} if with_report else made


def _of_host(reading: Reading) -> list[Finding]:
    """Findings on the host; a slow attention is none to warn of for a model that takes seconds."""
    is_small = reading.is_small()
    return [
        replace(one, level=Level.NOTE) if is_small and one.check == "attention" else one
        for one in reading.host.findings()
    ]


def _report(graph: PromptGraph, found: Sequence[Placed]) -> str:
    """Findings as a text; of the graph no more is told than which nodes it has."""
    counts = Counter(graph.kind(node) for node in graph.ids())
    kinds = [f"{number} {kind}" if number > 1 else kind for kind, number in sorted(counts.items())]
    private = Private.of_this_machine([Path.cwd(), Path(sys.prefix)])
    return report([one.finding for one in found], [f"graph: {', '.join(kinds)}"], private=private)
