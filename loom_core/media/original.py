"""A part of a clip as it is in its file: at its own rate and size, so that an edit can be given back the same way.

Nothing is decoded until the frames are gone through, and then one at a time: the originals of a few seconds in full
resolution are gigabytes.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .pictures import Picture, open_pictures
from .source import checked_path, no_frames

_MARGIN = 1.0  # seconds looked at beyond the part, to judge the rate


@dataclass(frozen=True)
class OriginalPart:
    """A part of a clip, not decoded; going through it does that, each time anew.

    Args:
        path: The file.
        start_seconds: Where the part begins, from the 0:00 that a player shows.
        fps: Frames a second; of a clip of variable rate that of its quicker stretches.
        num_frames: At `fps`.
    """

    path: Path
    start_seconds: float
    fps: float
    num_frames: int

    def __len__(self) -> int:
        """Number of frames."""
        return self.num_frames

    def __iter__(self) -> Iterator[Picture]:
        """Upright frames, uint8 [height, width, 3]; where the file ends too early, its last one stays.

        Raises:
            MediaError: The file is gone or cannot be read.
        """
        end = self.start_seconds + self.num_frames / self.fps + _MARGIN
        with open_pictures(self.path, start_seconds=self.start_seconds, end_seconds=end) as pictures:
            wanted = range(0, self.num_frames * pictures.timeline.step, pictures.timeline.step)
            picture: Picture | None = None
            last, num_missing = None, self.num_frames
            for item in pictures.at(wanted):
                if item is not last:
                    picture, last = np.ascontiguousarray(pictures.to_picture(item)), item
                num_missing -= 1
                assert picture is not None
                yield picture
            if picture is None:
                raise no_frames(self.path)
            for _ in range(num_missing):
                yield picture


def find_part(path: str | os.PathLike[str], *, start_seconds: float, seconds: float) -> OriginalPart:
    """Find out at which rate a part of a clip plays, without decoding it.

    Args:
        path: The file; a clip or an animated image.
        start_seconds: Where the part begins, from the 0:00 that a player shows.
        seconds: How long it is, above 0; a clip that ends before gives what is there.

    Raises:
        MediaError: The file cannot be read, holds no frame, is a still, or ends before `start_seconds`.
        MissingExtraError: It is a video and PyAV is not installed.
    """
    checked = checked_path(path)
    end = start_seconds + seconds + _MARGIN
    with open_pictures(checked, start_seconds=start_seconds, end_seconds=end) as pictures:
        timeline = pictures.timeline
    fps = timeline.fps / timeline.step
    wanted = max(1, math.floor(seconds * fps + 0.5))
    there = max(1, timeline.num_positions // timeline.step)
    return OriginalPart(checked, start_seconds, fps, min(wanted, there) if timeline.is_whole else wanted)
