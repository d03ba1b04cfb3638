"""Where one place lies beside another, in words."""

from __future__ import annotations

from .words import PLACES, RELATIONS, STEP

_NAMES = {position: name for name, position in PLACES.items()}


def place_in(relation: str, other: str) -> str | None:
    """The place that stands in a relation to another; None where that is no place.

    Args:
        relation: Of `words.RELATIONS`.
        other: Of `words.PLACES`.
    """
    (x, y), (right, down) = PLACES[other], RELATIONS[relation]
    return _NAMES.get((x + right * STEP, y + down * STEP))


def relation_of(place: str, other: str) -> str | None:
    """The words for where a place lies beside another; None where there are none."""
    return next((relation for relation in RELATIONS if place_in(relation, other) == place), None)
