"""Puts the pictures that the bundled workflows use into the host's input folder, where its loaders look."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import folder_paths

from ...loom_core.atomic import atomic_target
from ...loom_core.errors import LoomError

DEMO = Path(__file__).resolve().parents[2] / "demo"
FILES = ("shapes.mp4", "shapes.png", "star.png", "orange.png", "maroon.png", "harbour.mp4")
PREFIX = "loomvideo_"
"""In front of their names, so that they stand together and replace nobody else's file."""


def provide_demo_media() -> None:
    """Copy what is not there yet; what cannot be copied is logged, no more: the nodes do not depend on it."""
    try:
        folder = Path(folder_paths.get_input_directory())
        for name in FILES:
            target = folder / f"{PREFIX}{name}"
            if not target.exists():
                with atomic_target(target) as part:
                    shutil.copyfile(DEMO / name, part)
    except (OSError, LoomError) as error:
        logging.warning("LoomVideo: the bundled workflows may lack a picture: %s", error)
