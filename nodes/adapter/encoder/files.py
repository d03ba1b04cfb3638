"""Where encoders lie: files of the host's folders, and Hugging Face folders of Qwen3-VL where artists put them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import folder_paths

from ..files import BUILT_IN, offered, path_of

FOLDER = "text_encoders"
OTHER_PLACES = ("LLM", "llm", "LLMs")
"""Folders beside the host's own in which other packs keep language models."""
MODEL_TYPE = "qwen3_vl"
DEEPEST = 4
"""Levels below a place; a download cache has models--owner--name/snapshots/revision."""
_CONFIG = "config.json"


def offered_encoders() -> list[str]:
    """What the loader's list shows: the built-in one, folders (with a slash at the end), and files outside them."""
    folders = model_folders()
    files = [name for name in offered(FOLDER) if not _lies_in(name, folders)]
    return [BUILT_IN, *sorted(folders), *(name for name in files if name != BUILT_IN)]


def encoder_path(name: str) -> Path:
    """Where a choice of the list lies.

    Args:
        name: As `offered_encoders` showed it; not the built-in one.

    Raises:
        WeightsError: It is gone.
    """
    folder = model_folders().get(name)
    return path_of(name, (FOLDER,)) if folder is None else folder


def model_folders() -> dict[str, Path]:
    """Hugging Face folders of Qwen3-VL by the name that the list shows."""
    found: dict[str, Path] = {}
    known: set[Path] = set()
    for prefix, place in _places():
        if place.resolve() in known:  # "LLM" and "llm" are one folder on some systems
            continue
        known.add(place.resolve())
        for folder in _below(place, DEEPEST):
            if _is_qwen3_vl(folder):
                found.setdefault(f"{prefix}{folder.relative_to(place).as_posix()}/", folder)
    return found


def _places() -> Iterator[tuple[str, Path]]:
    """What names begin with, and the folder that they are in."""
    for path in folder_paths.get_folder_paths(FOLDER):
        yield "", Path(path)
    for name in OTHER_PLACES:
        registered = folder_paths.get_folder_paths(name) if name in folder_paths.folder_names_and_paths else []
        for path in dict.fromkeys([*registered, str(Path(folder_paths.models_dir) / name)]):
            yield f"{name}/", Path(path)


def _below(folder: Path, levels: int) -> Iterator[Path]:
    """Folders below one, nearest first, hidden ones left out; what cannot be read is passed over."""
    try:
        with os.scandir(folder) as entries:
            inside = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        return
    for name in inside:
        yield folder / name
        if levels > 1:
            yield from _below(folder / name, levels - 1)


def _is_qwen3_vl(folder: Path) -> bool:
    try:
        values = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and values.get("model_type") == MODEL_TYPE


def _lies_in(name: str, folders: dict[str, Path]) -> bool:
    """Whether a file is a part of one of the folders."""
    return any(Path(name).as_posix().startswith(folder) for folder in folders)
