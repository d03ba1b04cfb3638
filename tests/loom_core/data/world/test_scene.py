"""A scene is a value: two of the same parts are the same, and none can be changed in place."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest

from loom_core.data.world.scene import Background, Scene, Thing

SCENE = Scene(
    (Thing("star", "red", (225, 40, 40)), Thing("ring", "blue", (45, 80, 225))), Background("grey", (1, 2, 3))
)


def test_scenes_are_compared_by_what_they_show():
    assert replace(SCENE) == SCENE
    assert replace(SCENE, camera="zooms in") != SCENE
    assert len({SCENE, replace(SCENE), replace(SCENE, things=SCENE.things[::-1])}) == 2


def test_a_scene_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        SCENE.things[0].colour = "blue"
