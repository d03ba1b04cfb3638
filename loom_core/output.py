"""Writing a result: the file, and the side-by-side with its source."""

from __future__ import annotations

from pathlib import Path

import torch

from .atomic import check_writable
from .errors import ConfigError
from .media.compare import side_by_side, side_by_side_size
from .media.decode import read_clip
from .media.encode import check_target, write_image, write_video
from .pipeline import Generated
from .request import Plan

STILL_SUFFIX = ".png"
STILLS = (".png", ".jpg", ".jpeg", ".webp")


def output_path(asked: Path, *, is_image: bool) -> Path:
    """Where a result goes: as asked, but one frame asked for as a video becomes a .png beside it.

    Raises:
        ConfigError: A clip is asked for under the name of an image.
    """
    is_still_name = asked.suffix.lower() in STILLS
    if is_image and not is_still_name and asked.suffix:
        return asked.with_suffix(STILL_SUFFIX)
    if not is_image and is_still_name:
        raise ConfigError(
            f"the output name {asked.name} for a clip",
            expected="a video name, such as .mp4",
            fix=f"use {asked.with_suffix('.mp4').name}, or ask for 1 frame",
        )
    return asked


def compare_path(output: Path) -> Path:
    """Where the side-by-side goes."""
    return output.with_name(f"{output.stem}_compare{output.suffix}")


def check_output(plan: Plan, path: Path) -> None:
    """Refuse a place that cannot be written, before any work is done.

    Raises:
        MediaError: The ending is unknown.
        OutputError: The folder is missing or not writable, or the path is a folder.
        ResourceError: The disk is full.
    """
    check_target(path, is_image=plan.is_image)
    check_writable(path)


def write_output(result: Generated, path: Path) -> None:
    """Decode the result and write it; the file appears whole or not at all. Sound comes from the source."""
    if result.plan.is_image:
        write_image(path, torch.cat(list(result.frames)), metadata=result.metadata)
        return
    write_video(
        path,
        result.frames,
        fps=result.plan.fps,
        size=(result.plan.width, result.plan.height),
        audio_from=result.source,
        metadata=result.metadata,
    )


def write_compare(result: Generated, output: Path) -> Path:
    """Write source and result side by side; the result is read back from `output`.

    Returns:
        The path of the new file.

    Raises:
        ConfigError: There is no source.
    """
    if result.source is None:
        raise ConfigError("--compare without a source", expected="an edit", fix="leave --compare out")
    written = read_clip(output, target_fps=result.plan.fps, max_frames=result.plan.num_frames)
    joined = side_by_side([result.source.frames], [written.frames])
    path = compare_path(output)
    if result.plan.is_image:
        write_image(path, next(joined), metadata=result.metadata)
    else:
        size = side_by_side_size(result.source.size, written.size)
        write_video(path, joined, fps=result.plan.fps, size=size, audio_from=result.source, metadata=result.metadata)
    return path
