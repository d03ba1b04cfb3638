"""The whole pre-flight of a prompt, as the JSON that the browser gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...loom_core.doctor.finding import Level
from .checks import CHECKS
from .graph import PromptGraph
from .places import Placed
from .reading import Host, Reading

VERSION = 1
"""Of the form of the answer; see docs/preflight.md."""


def answer(prompt: Any, host: Host) -> dict[str, Any]:
    """What is to be said about a prompt.

    Args:
        prompt: In the form of the host's HTTP interface.
        host: Knows files and machine.

    Raises:
        ConfigError: It is no prompt.
    """
    graph = PromptGraph(prompt)
    reading = Reading(graph, host)
    found = [one for check in CHECKS for one in check(reading)]
    found += [Placed(finding) for finding in host.findings()]
    seen: Mapping[tuple[str, str], Placed] = {(one.finding.sentence, one.node): one for one in reversed(found)}
    kept = [one for one in found if seen[one.finding.sentence, one.node] is one]
    levels = [one.finding.level for one in kept]
    return {
        "version": VERSION,
        "errors": levels.count(Level.ERROR),
        "warnings": levels.count(Level.WARNING),
        "findings": [one.to_dict() for one in kept],
    }
