"""Writing a result: the file, and the side-by-side with its source."""

from __future__ import annotations

from pathlib import Path

import torch

from .errors import ConfigError
from .media.compare import side_by_side, side_by_side_size
from .media.decode import read_clip
from .media.encode import write_image, write_video
from .media.targets import compare_path
from .pipeline import Generated


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
