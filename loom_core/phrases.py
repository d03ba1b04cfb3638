"""Words for people that other languages can have too: a text that remembers the template and the values it was made of.

English stands in the code, as in the browser's scripts: the template is the key by which another language finds
its own. A phrase is an ordinary text wherever nobody asks for more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any


class Phrase(str):
    """A text with the template that it was made from; see `phrase`."""

    template: str
    values: Mapping[str, str]

    def mapped(self, change: Callable[[str], str]) -> Phrase:
        """The same with other values.

        Args:
            change: Makes a new value of each; of phrases among them, of their values.
        """
        made = {
            name: value.mapped(change) if isinstance(value, Phrase) else change(value)
            for name, value in self.values.items()
        }
        return phrase(self.template, **made)


def phrase(template: str, **values: object) -> Phrase:
    """A text made from a template.

    Args:
        template: With {names} of values in braces, without formats: those are the caller's.
        values: What stands for the names; texts, phrases or numbers.

    Raises:
        KeyError: A value is missing.
    """
    texts = {name: value if isinstance(value, str) else str(value) for name, value in values.items()}
    made = Phrase(template.format(**texts))
    made.template, made.values = template, texts
    return made


def phrase_data(text: str) -> dict[str, Any]:
    """A text for JSON: `text`, its template, and `values` by their names, which are texts or such again."""
    if not isinstance(text, Phrase):
        return {"text": text, "values": {}}
    values = {name: phrase_data(value) if isinstance(value, Phrase) else value for name, value in text.values.items()}
    return {"text": text.template, "values": values}


def joined(phrases: Sequence[str], template: str) -> str:
    """Several texts as one.

    Args:
        phrases: One or more.
        template: Says how {this} and {that}, which comes after it, stand together.
    """
    return reduce(lambda this, that: phrase(template, this=this, that=that), phrases)
