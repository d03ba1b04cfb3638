"""Names of results: which endings are known, and where a still or a comparison goes. Imports nothing heavy."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..atomic import check_writable
from ..errors import ConfigError, MediaError, OutputError

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".gif")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def check_target(path: str | os.PathLike[str], *, is_image: bool) -> None:
    """Refuse an output name of no known format, before any work is done.

    Raises:
        MediaError: The name's ending is not one of `IMAGE_SUFFIXES` or `VIDEO_SUFFIXES`.
    """
    target = Path(path)
    suffixes = IMAGE_SUFFIXES if is_image else VIDEO_SUFFIXES
    if target.suffix.lower() not in suffixes:
        kind = "an image" if is_image else "a video"
        raise MediaError(
            f"the output name {target.name}",
            expected=f"{kind} name ending in {', '.join(suffixes)}",
            fix=f"use {(target.stem or 'result') + suffixes[0]}",
        )


def output_path(asked: Path, *, is_image: bool) -> Path:
    """Where a result goes: as asked, but one frame asked for as a video becomes a .png beside it.

    Raises:
        ConfigError: A clip is asked for under the name of an image.
    """
    suffix = asked.suffix.lower()
    if is_image and suffix in VIDEO_SUFFIXES:
        return asked.with_suffix(IMAGE_SUFFIXES[0])
    if not is_image and suffix in IMAGE_SUFFIXES:
        raise ConfigError(
            f"the output name {asked.name} for a clip",
            expected="a video name, such as .mp4",
            fix=f"use {asked.with_suffix('.mp4').name}, or ask for 1 frame",
        )
    return asked


def compare_path(output: Path) -> Path:
    """Where the side-by-side of a result goes."""
    return output.with_name(f"{output.stem}_compare{output.suffix}")


def check_output(path: Path, *, is_image: bool, inputs: Sequence[Path] = ()) -> None:
    """Refuse a place that cannot be written, or that holds an input, before any work is done.

    Args:
        path: Where something is to be written.
        is_image: Whether it is a still.
        inputs: Files that are read; they must stay as they are.

    Raises:
        MediaError: The ending is unknown.
        OutputError: The folder is missing or not writable, or the place is one of the inputs.
        ResourceError: The disk is full.
    """
    check_target(path, is_image=is_image)
    for given in inputs:
        if path.exists() and given.exists() and path.samefile(given):
            raise OutputError(
                f"the output {path.name}, which is also an input",
                expected="another place, so that the input stays as it is",
                fix="choose another name",
            )
    check_writable(path)
