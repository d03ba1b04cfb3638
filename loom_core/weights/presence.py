"""Whether files are there at all. Imports nothing heavy, so that a slip in a path is answered at once."""

from __future__ import annotations

from pathlib import Path

from ..errors import WeightsError


def require_present(*paths: Path | None) -> None:
    """Refuse a path at which nothing lies; None, a part that was not named, is passed over.

    Raises:
        WeightsError: Names the first such path.
    """
    for path in paths:
        if path is not None and not path.exists():
            raise WeightsError(f"no file or folder {path}", expected="weights", fix="check the path")
