"""The host's folders: what a loader offers, and where a choice lies."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path

import folder_paths

from ...loom_core.errors import WeightsError
from ...loom_core.phrases import phrase
from ...loom_core.weights.gguf_files import MAGIC

BUILT_IN = "built-in: loom-tiny"
"""What every loader offers first: its part of the small model that comes with the pack."""


def offered(*folders: str, suffixes: Collection[str] = ()) -> list[str]:
    """What a loader's list shows: the built-in part, then the files of the host's folders.

    Args:
        folders: The host's names of them ("diffusion_models").
        suffixes: Endings to show (".safetensors"); all that the host lists if empty.
    """
    names = {name for folder in folders for name in folder_paths.get_filename_list(folder)}
    return [BUILT_IN, *sorted(name for name in names if not suffixes or Path(name).suffix.lower() in suffixes)]


def refuse_gguf(path: Path) -> None:
    """Refuse a GGUF file, which the host does not read.

    Args:
        path: A file or folder.

    Raises:
        WeightsError: It is one.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        head = file.read(len(MAGIC))
    if head == MAGIC:
        raise WeightsError(
            phrase("{path}, a GGUF file", path=path),
            expected="safetensors, which ComfyUI reads",
            fix="use a file quantised as fp8 or int8; GGUF is for the command line",
        )


def path_of(name: str, folders: Sequence[str]) -> Path:
    """Where a choice of a loader lies.

    Args:
        name: As `offered` showed it.
        folders: The host's names of the folders it may lie in, first match first.

    Raises:
        WeightsError: It is gone, or points outside these folders.
    """
    for folder in folders:
        path = folder_paths.get_full_path(folder, name)
        if path is not None:
            return Path(path)
    raise WeightsError(
        phrase("no file {name} in models/{folder}", name=repr(name), folder=folders[0]),
        expected="a file that is there",
        fix="press R in ComfyUI to read the folders again, then choose one",
    )


def media_path(name: str) -> Path | None:
    """Where a picture or clip lies that a loader names; None if it is not there, or outside the host's folders.

    Args:
        name: As in a widget of the host's loaders: "folder/clip.mp4", or "clip.mp4 [output]" from another of them.
    """
    try:
        path = Path(os.path.normpath(folder_paths.get_annotated_filepath(name)))
    except ValueError:  # newer hosts refuse themselves what lies outside
        return None
    folders = (
        folder_paths.get_input_directory(),
        folder_paths.get_output_directory(),
        folder_paths.get_temp_directory(),
    )
    is_inside = any(path.is_relative_to(os.path.normpath(folder)) for folder in folders)
    return path if is_inside and path.is_file() else None
