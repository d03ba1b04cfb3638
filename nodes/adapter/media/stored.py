"""What a file in one of the host's folders holds, for the browser: a player tells neither rate nor number of frames."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import folder_paths

from ....loom_core.errors import MediaError
from ....loom_core.media.probe import probe


def stored_facts(query: Mapping[str, str]) -> dict[str, Any]:
    """Size, rate and length of a file, named as for the host's /view.

    Args:
        query: `filename`, `subfolder` and `type` (input, output or temp).

    Returns:
        `is_image`, `width`, `height` (upright), `fps`, `frames`, `seconds` and `has_audio`.

    Raises:
        MediaError: The file lies in none of these folders, or cannot be read.
    """
    kind, name = query.get("type", "input"), query.get("filename", "")
    folder = folder_paths.get_directory_by_type(kind)
    if folder is None:
        raise MediaError(f"a folder {kind!r}", expected="input, output or temp", fix="name one of them")
    root = Path(folder).resolve()
    path = (root / query.get("subfolder", "") / name).resolve()
    if not name or not path.is_relative_to(root):
        raise MediaError(f"a file {name!r} outside of {kind}", expected="a file in that folder", fix="check its name")
    info = probe(path)
    return {
        "is_image": info.is_image,
        "width": info.width,
        "height": info.height,
        "fps": info.fps,
        "frames": info.num_frames,
        "seconds": info.duration_seconds,
        "has_audio": info.has_audio,
    }
