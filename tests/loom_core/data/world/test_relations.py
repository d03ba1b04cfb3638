"""Words for where a place lies beside another: there and back again."""

from __future__ import annotations

from loom_core.data.world.relations import place_in, relation_of
from loom_core.data.world.words import PLACES, RELATIONS


def test_known_places():
    assert place_in("left of", "right") == "left"
    assert place_in("below", "top left") == "bottom left"
    assert place_in("above and right of", "middle") == "top right"
    assert place_in("left of", "middle") is None  # out of the picture


def test_each_is_the_other_way_round():
    for place in PLACES:
        for relation in RELATIONS:
            other = place_in(relation, place)
            assert other is None or relation_of(other, place) == relation


def test_places_beside_each_other_and_far_across_have_no_words():
    assert relation_of("middle", "middle") is None
    assert relation_of("top", "middle") is None
    assert relation_of("top left", "bottom right") is None
    assert relation_of("top", "bottom left") is None
