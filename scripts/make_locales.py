"""Write locales/en/nodeDefs.json, the words of the nodes in the form that ComfyUI translates, from the nodes.

    python scripts/make_locales.py

locales/<language>/nodeDefs.json of other languages is written by hand. A sentence that changed in English loses its
translations here, so that the tests ask for new ones.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "locales"
FILE = "nodeDefs.json"
SLOTS_WITH_WORDS = 10
"""Of inputs that grow; each slot has a key of its own, and more than these are hardly ever used."""

Words = dict[str, Any]


def compiled(text: str) -> str:
    """A text in the message syntax of vue-i18n, in which ComfyUI reads names and descriptions, but not tooltips.

    Source: the frontend's `st` and `stRaw`, in versions 1.49.6 and 1.58.1.
    """
    return re.sub(r"[@{}|]", lambda match: f"{{'{match[0]}'}}", text)


def node_words(schema: Any) -> Words:
    """Names and tooltips of one node.

    Args:
        schema: As ComfyUI's `io.Schema`, or a stand-in of it.

    Returns:
        An entry of nodeDefs.json.
    """
    inputs = {}
    for port in schema.inputs:
        inputs[port.id] = {"name": compiled(port.id), "tooltip": port.tooltip}
        template = getattr(port, "more", {}).get("template")
        for name in (template.names if template else ())[:SLOTS_WITH_WORDS]:
            inputs[f"{port.id}_{name}"] = {"tooltip": template.input.tooltip}
    outputs = {
        str(index): {"name": compiled(port.id), "tooltip": port.tooltip} for index, port in enumerate(schema.outputs)
    }
    words: Words = {"display_name": compiled(schema.display_name), "description": compiled(schema.description)}
    return words | {"inputs": inputs, "outputs": outputs}


def english(schemas: Iterable[Any]) -> Words:
    """Contents of locales/en/nodeDefs.json.

    Args:
        schemas: Of all nodes.
    """
    return {schema.node_id: node_words(schema) for schema in schemas}


def flat(words: Words, above: tuple[str, ...] = ()) -> dict[tuple[str, ...], str]:
    """Every sentence by the keys that lead to it."""
    found: dict[tuple[str, ...], str] = {}
    for key, value in words.items():
        found |= flat(value, (*above, key)) if isinstance(value, dict) else {(*above, key): value}
    return found


def without_stale(translated: Words, old: Words, new: Words) -> Words:
    """A translation without the sentences whose English changed or went.

    Args:
        translated: Contents of another language's nodeDefs.json.
        old: English that it was made from.
        new: English of now.
    """
    before, now = flat(old), flat(new)

    def kept(words: Words, above: tuple[str, ...]) -> Words:
        result: Words = {}
        for key, value in words.items():
            place = (*above, key)
            if isinstance(value, dict):
                if inner := kept(value, place):
                    result[key] = inner
            elif place in now and before.get(place) == now[place]:
                result[key] = value
        return result

    return kept(translated, ())


def read(language: str) -> Words:
    """Contents of a language's file."""
    return json.loads((FOLDER / language / FILE).read_text(encoding="utf-8"))


def write(language: str, words: Words) -> None:
    """Replace a language's file."""
    text = json.dumps(words, ensure_ascii=False, indent=2) + "\n"
    (FOLDER / language / FILE).write_text(text, encoding="utf-8")


def schemas_of_the_pack() -> list[Any]:
    """Schema of every node, read without ComfyUI."""
    sys.path.insert(0, str(ROOT / "tests"))
    from stand_ins import stand_ins  # noqa: PLC0415 - it lies among the tests

    with stand_ins() as load:
        return [node.GET_SCHEMA() for node in load("nodes.catalogue").NODES]


def main() -> None:
    """Run it."""
    old, new = read("en"), english(schemas_of_the_pack())
    for folder in sorted(FOLDER.iterdir()):
        if folder.name != "en":
            write(folder.name, without_stale(read(folder.name), old, new))
    write("en", new)


if __name__ == "__main__":
    main()
