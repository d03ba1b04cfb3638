"""Findings with the place in the graph where each belongs, and what a button there would do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ...loom_core.doctor.finding import Finding, Settings
from .graph import PromptGraph

INPUTS: Mapping[str, Mapping[str, str]] = {
    "LoomVideoEmptyLatent": {"width": "width", "height": "height", "num_frames": "length"},
    "LoomVideoSourceLatentScaler": {"width": "width", "height": "height", "num_frames": "max_frames", "fps": "fps"},
    "LoomVideoReferenceSlots": {"width": "width", "height": "height"},
    "LoomVideoSizeHelper": {"num_frames": "length"},
}
"""Class of a node -> setting of a finding -> input in which it stands."""


@dataclass(frozen=True)
class Placed:
    """A finding in a graph.

    Args:
        finding: What was found.
        node: Id of the node; empty for what no node can change.
        input: Name of the input; empty for the node as a whole.
        action: What a button does: see `set_action` and `show_action`.
    """

    finding: Finding
    node: str = ""
    input: str = ""
    action: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON; docs/preflight.md describes it."""
        data = self.finding.to_dict()
        del data["settings"]
        return {
            **data,
            "node": self.node or None,
            "input": self.input or None,
            "action": None if self.action is None else dict(self.action),
        }


def set_action(values: Iterable[tuple[str, str, Any]]) -> dict[str, Any]:
    """Write values into inputs.

    Args:
        values: (id of a node, name of an input, value).
    """
    return {
        "kind": "set",
        "values": [{"node": node, "input": name, "value": value} for node, name, value in values],
    }


def show_action(node: str, name: str) -> dict[str, Any]:
    """Bring a node into view, and mark an input of it.

    Args:
        node: Its id.
        name: Of the input; empty for none.
    """
    return {"kind": "show", "node": node, "input": name or None}


def placed(graph: PromptGraph, node: str, name: str, findings: Iterable[Finding]) -> list[Placed]:
    """Findings on an input, each with the button that suits it.

    Args:
        graph: The prompt.
        node: Id of the node.
        name: Of the input.
        findings: What was found there.
    """
    made = []
    for finding in findings:
        action = None
        if finding.fix:
            action = _setting(graph, node, finding.settings) or show_action(node, name)
        made.append(Placed(finding, node, name, action))
    return made


def _setting(graph: PromptGraph, node: str, settings: Settings) -> dict[str, Any] | None:
    """The action that makes settings; None where one of them is computed elsewhere, or there are none."""
    values = []
    for setting, value in settings.items():
        name = INPUTS.get(graph.kind(node), {}).get(setting, "")
        place = _place(graph, node, name, setting)
        if place is None:
            return None
        values.append((*place, value))
    return set_action(values) if values else None


def _place(graph: PromptGraph, node: str, name: str, setting: str) -> tuple[str, str] | None:
    """(node, input) where a setting is written, at the node itself or where a helper takes it from."""
    written = graph.written(node, name)
    if written is not None:
        return written.node, written.input
    link = graph.link(node, name)
    helper = "" if link is None else INPUTS.get(graph.kind(link[0]), {}).get(setting, "")
    return _place(graph, link[0], helper, setting) if link is not None and helper else None
