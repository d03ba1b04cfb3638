"""A prompt in the form of the host's HTTP interface, and what can be told of its inputs without running it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...loom_core.errors import ConfigError

_PRIMITIVES: Mapping[str, str] = {
    "PrimitiveInt": "value",
    "PrimitiveFloat": "value",
    "PrimitiveString": "value",
    "PrimitiveStringMultiline": "value",
    "PrimitiveBoolean": "value",
}
"""Nodes of the host's that give on what is written into them -> the input it is written into."""
_LINK = 2  # a link is [id, number of the output]


@dataclass(frozen=True)
class Written:
    """A value that somebody wrote or chose.

    Args:
        value: What it is.
        node: Id of the node in which it stands.
        input: Name of the input there.
    """

    value: Any
    node: str
    input: str


class PromptGraph:
    """Nodes by id.

    Args:
        prompt: id -> {"class_type", "inputs"}; an input is a value or [id, number of an output].

    Raises:
        ConfigError: It is none.
    """

    def __init__(self, prompt: Any) -> None:
        is_one = isinstance(prompt, Mapping) and all(
            isinstance(node, Mapping)
            and isinstance(node.get("class_type"), str)
            and isinstance(node.get("inputs", {}), Mapping)
            for node in prompt.values()
        )
        if not is_one:
            raise ConfigError(
                "something else than a prompt",
                expected='an object of nodes by id, each with "class_type" and "inputs"',
                fix='send {"prompt": ...} with what ComfyUI queues (Export (API))',
            )
        self._nodes: dict[str, Mapping[str, Any]] = {str(name): node for name, node in prompt.items()}

    def of_kind(self, *kinds: str) -> Iterator[str]:
        """Ids of the nodes of some classes, in order."""
        return (name for name, node in self._nodes.items() if node["class_type"] in kinds)

    def ids(self) -> Iterator[str]:
        """Ids of all nodes, in order."""
        return iter(self._nodes)

    def kind(self, node: str) -> str:
        """Class of a node; empty if there is no such node."""
        return str(self._nodes[node]["class_type"]) if node in self._nodes else ""

    def kinds(self) -> set[str]:
        """Classes of all nodes."""
        return {self.kind(node) for node in self._nodes}

    def inputs(self, node: str) -> Mapping[str, Any]:
        """Inputs of a node by name."""
        inputs: Mapping[str, Any] = self._nodes[node].get("inputs", {}) if node in self._nodes else {}
        return inputs

    def link(self, node: str, name: str) -> tuple[str, int] | None:
        """(id, output) that an input is connected to; None if it is not."""
        value = self.inputs(node).get(name)
        is_link = isinstance(value, list) and len(value) == _LINK and isinstance(value[1], int)
        return (str(value[0]), value[1]) if is_link else None  # type: ignore[index]

    def written(self, node: str, name: str) -> Written | None:
        """The value of an input, written in this node or in a primitive one; None if it comes from elsewhere."""
        link = self.link(node, name)
        if link is None:
            value = self.inputs(node).get(name)
            return None if value is None else Written(value, node, name)
        inner = _PRIMITIVES.get(self.kind(link[0]))
        if inner is None or self.link(link[0], inner) is not None:
            return None
        return self.written(link[0], inner)

    def origin(self, node: str, name: str, kinds: Collection[str], *, through: str = "") -> str | None:
        """Id of the node of a class that an input comes from.

        Args:
            node: Where the input is.
            name: Its name.
            kinds: Classes looked for.
            through: Go on through other nodes by their input of this name.
        """
        seen: set[str] = set()
        link = self.link(node, name)
        while link is not None and link[0] not in seen:
            seen.add(link[0])
            if self.kind(link[0]) in kinds:
                return link[0]
            link = self.link(link[0], through) if through else None
        return None

    def readers(self, node: str, output: int) -> list[str]:
        """Ids of the nodes that an output is connected to."""
        return [
            name for name in self._nodes if any(self.link(name, port) == (node, output) for port in self.inputs(name))
        ]
