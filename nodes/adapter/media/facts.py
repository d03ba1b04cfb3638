"""What a picture or clip in the host's folders holds, for the browser, which cannot tell its rate and frames."""

from __future__ import annotations

from typing import Any

from ....loom_core.errors import ConfigError, MediaError
from ....loom_core.media.probe import probe
from ..files import media_path

FOLDERS = ("input", "output", "temp")
"""Of the host, in which files for a graph lie."""


def media_facts(filename: str, subfolder: str, folder: str) -> dict[str, Any]:
    """Size, rate and length of a file, from its headers and first frame.

    Args:
        filename: Its name, without a path.
        subfolder: Where it lies within the folder; empty for directly.
        folder: One of `FOLDERS`.

    Returns:
        width, height (pixels, upright), fps (0 for a picture), num_frames, seconds, has_audio and is_image.

    Raises:
        ConfigError: The name is none, or the folder is not one of the host's.
        FileNotFoundError: There is no such file inside the folder.
        MediaError: It holds no picture, or is damaged.
    """
    if not filename or filename != filename.replace("\\", "/").rpartition("/")[2] or "\0" in filename + subfolder:
        raise ConfigError(
            f"file name {filename!r}", expected="a name without a path", fix="give the path in it as subfolder"
        )
    if folder not in FOLDERS:
        raise ConfigError(f"type {folder!r}", expected=f"one of {', '.join(FOLDERS)}", fix="leave it out for input")
    path = media_path(f"{subfolder}/{filename} [{folder}]" if subfolder else f"{filename} [{folder}]")
    if path is None:
        raise FileNotFoundError(f"found no file {filename!r} there; to fix: upload it, or choose another")
    try:
        info = probe(path)
    except MediaError as error:
        raise MediaError(error.found.replace(str(path), path.name), expected=error.expected, fix=error.fix) from error
    return {
        "width": info.width,
        "height": info.height,
        "fps": info.fps,
        "num_frames": info.num_frames,
        "seconds": info.duration_seconds,
        "has_audio": info.has_audio,
        "is_image": info.is_image,
    }
