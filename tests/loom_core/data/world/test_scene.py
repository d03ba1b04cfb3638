"""A scene finds its things by shape."""

from __future__ import annotations

import pytest

from loom_core.data.world.scene import Background, Scene, Thing
from loom_core.errors import ConfigError

SCENE = Scene(
    (Thing("star", "red", (225, 40, 40)), Thing("ring", "blue", (45, 80, 225))), Background("grey", (1, 2, 3))
)


def test_things_are_found_by_shape():
    assert [SCENE.index_of("star"), SCENE.index_of("ring")] == [0, 1]


def test_a_missing_one_is_told():
    with pytest.raises(ConfigError, match=r"no moon.*star, ring"):
        SCENE.index_of("moon")
