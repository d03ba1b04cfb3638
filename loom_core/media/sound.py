"""The sound of a part of a clip as samples, in step with the picture."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .audio import LAYOUTS, MAX_DRIFT, PREROLL, decoded_blocks, failures
from .source import checked_path, container_zero, open_container, seek_seconds

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sound:
    """Samples.

    Args:
        samples: float32 [channels, n], in [-1, 1].
        rate: Samples a second.
    """

    samples: Tensor
    rate: int


def read_sound(path: str | os.PathLike[str], *, start_seconds: float, seconds: float) -> Sound | None:
    """Read what is heard in a part of a clip.

    Mono, stereo and 5.1 stay as they are, everything else becomes stereo. What is damaged or missing on the way is
    silence.

    Args:
        path: The file.
        start_seconds: Where the part begins, from the 0:00 that a player shows.
        seconds: How long it is; sound that ends before gives fewer samples.

    Returns:
        The sound; None where there is none, or none that can be decoded (which is logged).

    Raises:
        MediaError: The file cannot be opened.
    """
    checked = checked_path(path)
    with open_container(checked) as container:
        # a stream that FFmpeg has no decoder for (some phones record a second, spatial one) has no context
        stream = next((one for one in container.streams.audio if one.codec_context is not None), None)
        if stream is None or not stream.codec_context.sample_rate:
            return None
        rate = stream.codec_context.sample_rate
        layout = LAYOUTS.get(stream.codec_context.channels, "stereo")
        if start_seconds > PREROLL:
            seek_seconds(container, start_seconds - PREROLL)
        track = _Track(round(seconds * rate), rate)
        try:
            for moment, samples in decoded_blocks(
                container, stream, start=start_seconds + container_zero(container), layout=layout, rate=rate
            ):
                if not track.take(moment, samples):
                    break
        except failures() as error:
            logger.warning("the sound of %s cannot be read on (%s); the rest is silent", checked.name, error)
        return track.sound()


class _Track:
    """Samples on a line of fixed length that begins with the part."""

    def __init__(self, length: int, rate: int) -> None:
        self._length, self._rate = length, rate
        self._samples: np.ndarray | None = None
        self._end = 0

    def take(self, moment: float, samples: np.ndarray) -> bool:
        """Put a block [channels, n], heard at `moment`, in its place; False when it lies behind the end."""
        if self._samples is None:
            self._samples = np.zeros((samples.shape[0], self._length), np.float32)
        position = round(moment * self._rate)
        if self._end and abs(position - self._end) <= MAX_DRIFT * self._rate:
            position = self._end  # time stamps are rounded; samples follow each other
        if position >= self._length:
            return False
        part = samples[:, max(0, -position) : self._length - position]
        begin = max(0, position)
        self._samples[:, begin : begin + part.shape[1]] = part
        self._end = max(self._end, begin + part.shape[1])
        return True

    def sound(self) -> Sound | None:
        """What was taken."""
        if self._samples is None or not self._end:
            return None
        return Sound(torch.from_numpy(self._samples[:, : self._end].copy()), self._rate)
