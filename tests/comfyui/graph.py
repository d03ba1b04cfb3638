"""A bundled workflow, to be changed for a test."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "workflows" / "api"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
Link = list[Any]


class Graph:
    """A prompt in the form of the HTTP interface.

    Args:
        name: Of a bundled workflow.
    """

    def __init__(self, name: str) -> None:
        self.prompt: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))

    def copy(self) -> Graph:
        """The same graph, to change independently."""
        other = copy.copy(self)
        other.prompt = copy.deepcopy(self.prompt)
        return other

    def find(self, kind: str) -> str:
        """Id of the only node of a kind."""
        (found,) = (number for number, node in self.prompt.items() if node["class_type"] == kind)
        return found

    def has(self, kind: str) -> bool:
        """Whether there is a node of a kind."""
        return any(node["class_type"] == kind for node in self.prompt.values())

    def inputs(self, kind: str) -> dict[str, Any]:
        """Inputs of the only node of a kind."""
        return self.prompt[self.find(kind)]["inputs"]

    def set(self, kind: str, /, **inputs: Any) -> Graph:
        """Change inputs of the only node of a kind; None removes one."""
        mine = self.inputs(kind)
        for name, value in inputs.items():
            if value is None:
                mine.pop(name, None)
            else:
                mine[name] = value
        return self

    def add(self, kind: str, /, **inputs: Any) -> str:
        """Add a node; its id."""
        number = str(max(map(int, self.prompt)) + 1)
        self.prompt[number] = {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}
        return number

    def output(self, kind: str, index: int = 0) -> Link:
        """A link that begins at the only node of a kind."""
        return [self.find(kind), index]

    def insert(self, kind: str, /, *, after: Link, into: str, **inputs: Any) -> str:
        """Put a node of one in- and output between an output and all that reads it.

        Args:
            kind: Of the new node.
            after: The output.
            into: Name of the new node's input.
            inputs: Its other inputs.
        """
        readers = [
            (node["inputs"], name)
            for node in self.prompt.values()
            for name, value in node["inputs"].items()
            if value == after
        ]
        number = self.add(kind, **{into: after}, **inputs)
        for values, name in readers:
            values[name] = [number, 0]
        return number

    def replace(self, kind: str, by: str, /, **inputs: Any) -> str:
        """Put a node in another's place: what read that reads the new one, at the same outputs."""
        number = self.find(kind)
        self.prompt[number] = {"class_type": by, "inputs": inputs, "_meta": {"title": by}}
        return number
