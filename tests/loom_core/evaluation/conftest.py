"""The codec of the built-in model, and scenes to judge."""

from __future__ import annotations

import pytest

from loom_core.bundle import BUILT_IN
from loom_core.data.tasks import training_task
from loom_core.data.world.edits import Ask
from loom_core.data.world.render import render
from loom_core.data.world.samples import Request
from loom_core.data.world.scene import Background, Scene, Thing
from loom_core.vae.loading import load_codec


@pytest.fixture(scope="session")
def codec():
    return load_codec(BUILT_IN / "codec.safetensors")


@pytest.fixture
def square():
    return Thing("square", "red", (225, 40, 40), size="large", place="top left")


@pytest.fixture
def ring():
    return Thing("ring", "cyan", (60, 205, 215), size="large", place="bottom right", motion="moves up")


@pytest.fixture
def scene(square, ring):
    return Scene((square, ring), Background("grey", (125, 125, 125)))


@pytest.fixture
def edit():
    """Makes the request of an edit from what is given, what should be and what is asked."""

    def make(kind: str, before: Scene | None, after: Scene, *asks: Ask, task: str = "edit-video") -> Request:
        return Request(training_task(task), kind, f"{kind} it.", before, after, asks)

    return make


@pytest.fixture
def paint():
    """Paints a scene: uint8 [5, 128, 128, 3]."""
    return lambda scene, num_frames=5: render(scene, num_frames=num_frames).frames
