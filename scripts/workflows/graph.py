"""A workflow as it is written down: nodes with their values, in named columns, and the links between them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_PATTERN = re.compile(r"%(\w+)\.(\w+)%")


def filled(text: str, prompt: Mapping[str, Any]) -> str:
    """A text with %Node.widget% replaced by that value, as ComfyUI's frontend does when it queues.

    Args:
        text: Such as "video_edit_seed%LoomVideoSampler.seed%".
        prompt: The nodes, in the form of the HTTP interface.

    Raises:
        StopIteration: No node is of that kind.
        KeyError: It has no such input.
    """

    def value(found: re.Match[str]) -> str:
        node = next(node for node in prompt.values() if node["class_type"] == found[1])
        return str(node["inputs"][found[2]])

    return _PATTERN.sub(value, text)


@dataclass(frozen=True)
class Output:
    """An output of a node: what a link begins at."""

    node: str
    index: int = 0


@dataclass(frozen=True)
class Step:
    """One node.

    Args:
        kind: Its id in ComfyUI.
        values: Of its widgets, and `Output` for its links, by input id.
        title: What the artist reads above it; None for the node's own name.
    """

    kind: str
    values: Mapping[str, Any] = field(default_factory=dict)
    title: str | None = None


@dataclass(frozen=True)
class Column:
    """Nodes that stand below one another, in a frame with a heading.

    Args:
        heading: Of the frame.
        steps: By a key that outputs name.
    """

    heading: str
    steps: Mapping[str, Step]


@dataclass(frozen=True)
class Workflow:
    """A bundled workflow.

    Args:
        name: Of its files; letters, digits, `_`, `-` and `.` only, since links to templates allow no more.
        note: What the artist reads first, in Markdown.
        columns: From left to right.
        picture: Key of the node whose result makes the thumbnail.
    """

    name: str
    note: str
    columns: Sequence[Column]
    picture: str = "save"

    @property
    def steps(self) -> dict[str, Step]:
        """All nodes by key, in reading order."""
        return {key: step for column in self.columns for key, step in column.steps.items()}

    def ids(self) -> dict[str, str]:
        """Number of each node in the prompt, from 1."""
        return {key: str(number) for number, key in enumerate(self.steps, start=1)}

    def prompt(self) -> dict[str, Any]:
        """The prompt with its texts as an artist sees them, %Node.widget% and all.

        Raises:
            KeyError: A link begins at a node that does not exist.
        """
        ids = self.ids()

        def value(given: Any) -> Any:
            return [ids[given.node], given.index] if isinstance(given, Output) else given

        return {
            ids[key]: {
                "class_type": step.kind,
                "inputs": {name: value(given) for name, given in step.values.items()},
                "_meta": {"title": step.title or step.kind},
            }
            for key, step in self.steps.items()
        }

    def api(self) -> dict[str, Any]:
        """The prompt as ComfyUI's HTTP interface takes it, where nobody fills in %Node.widget%."""
        prompt = self.prompt()
        for node in prompt.values():
            inputs = node["inputs"]
            node["inputs"] = {
                name: filled(given, prompt) if name == "filename_prefix" else given for name, given in inputs.items()
            }
        return prompt
