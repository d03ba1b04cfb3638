"""A world as files: clips and stills with a `metadata.jsonl`, as somebody's own data would lie.

    metadata.jsonl        a line a sample: task, video or image, instruction, source, references
    world.json            the settings, so that a stopped run goes on only with the same ones
    target/0000012.mp4    source/0000012.mp4    reference/0000012-1.png

Every file appears whole or not at all; those that are there are not made again. The manifest comes last.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...atomic import atomic_target, explained
from ...errors import ConfigError, OutputError
from ...media.encode import write_image, write_video
from ...types import Clip
from .samples import Request, WorldSettings, make_request, make_sample
from .source import version_of

MANIFEST = "metadata.jsonl"
SETTINGS = "world.json"
FOLDERS = ("target", "source", "reference")
CLIP_SUFFIX, STILL_SUFFIX = ".mp4", ".png"


def write_world(
    folder: Path, settings: WorldSettings, *, count: int, progress: Callable[[int], None] | None = None
) -> int:
    """Write samples 0 to `count` of a world; go on where an earlier call was stopped.

    Args:
        folder: New, empty, or begun with the same settings; made when it is missing.
        settings: Of the world.
        count: Number of samples, at least 1; more than in an earlier call adds to it.
        progress: Told the number of samples done after each.

    Returns:
        How many samples were made now; the others were there.

    Raises:
        ConfigError: There are no samples to write, or the folder holds a world of other settings.
        OutputError: The folder holds something else, or cannot be written.
        ResourceError: The disk is full.
        MissingExtraError: PyAV is not installed.
    """
    if count < 1:
        raise ConfigError(f"{count} samples", expected="at least 1", fix="correct the number")
    _claim(folder, settings)
    made, rows = 0, []
    for index in range(count):
        request, _ = make_request(index, settings)
        row = sample_row(index, request)
        rows.append(row)
        if not all((folder / name).exists() for name in _files(row)):
            _write_sample(folder, row, index, settings)
            made += 1
        if progress is not None:
            progress(index + 1)
    _write_text(folder / MANIFEST, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return made


def sample_row(index: int, request: Request) -> dict[str, Any]:
    """A sample's line in the manifest; paths are relative to it."""
    number = f"{index:07d}"
    suffix = STILL_SUFFIX if request.task.is_image else CLIP_SUFFIX
    row: dict[str, Any] = {"task": request.task.name}
    row["image" if request.task.is_image else "video"] = f"target/{number}{suffix}"
    if request.instruction:
        row["instruction"] = request.instruction
    if request.before is not None and not request.task.is_reconstruction:
        row["source"] = f"source/{number}{suffix}"
    if request.references:
        numbers = range(1, len(request.references) + 1)
        row["references"] = [f"reference/{number}-{place}{STILL_SUFFIX}" for place in numbers]
    return row


def _files(row: Mapping[str, Any]) -> list[str]:
    """All files of a line: target, source, references."""
    single = [row[name] for name in ("image", "video", "source") if name in row]
    return single + list(row.get("references", ()))


def _write_sample(folder: Path, row: Mapping[str, Any], index: int, settings: WorldSettings) -> None:
    sample = make_sample(index, settings).sample
    clips: list[Clip | None] = [sample.target, sample.source if "source" in row else None, *sample.references]
    for name, clip in zip(_files(row), [clip for clip in clips if clip is not None], strict=True):
        if clip.is_image:
            write_image(folder / name, clip.frames)
        else:
            write_video(folder / name, [clip.frames], fps=clip.fps, size=clip.size)


def _claim(folder: Path, settings: WorldSettings) -> None:
    """Make the folder ours: new or empty, or already so with the same settings."""
    described = json.loads(json.dumps({"world_version": version_of(settings)} | asdict(settings)))
    path = folder / SETTINGS
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            _check_same(path, described)
        elif any(folder.iterdir()):
            raise OutputError(
                f"{folder}, which holds other files",
                expected=f"a new or empty folder, or one with the {SETTINGS} of an earlier run",
                fix="name another folder",
            )
        for name in FOLDERS:
            (folder / name).mkdir(exist_ok=True)
    except OSError as error:
        raise explained(error, folder) from error
    if not path.is_file():
        _write_text(path, json.dumps(described, indent=2) + "\n")


def _check_same(path: Path, described: Mapping[str, Any]) -> None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError):
        found = None
    if not isinstance(found, dict):
        raise OutputError(f"{path}, which is no JSON object", expected="the settings of a world", fix="remove it")
    differing = [name for name in described if found.get(name) != described[name]]
    if differing:
        raise ConfigError(
            f"{path.parent}, made with other settings: {', '.join(differing)}",
            expected=f"the settings in its {SETTINGS}, to go on with it",
            fix="use those, or name another folder",
        )


def _write_text(path: Path, text: str) -> None:
    with atomic_target(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
