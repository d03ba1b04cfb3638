"""ComfyUI's AUDIO, cut to the pictures that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any


def part_of(audio: Mapping[str, Any] | None, start: float, seconds: float | Fraction) -> dict[str, Any] | None:
    """A part of a sound.

    Args:
        audio: The host's AUDIO, or None for silence.
        start: Where the part begins, in seconds.
        seconds: How long it is at most.

    Returns:
        None if nothing is heard in it.
    """
    if audio is None:
        return None
    rate = int(audio["sample_rate"])
    first = round(start * rate)
    waveform = audio["waveform"][..., first : first + round(seconds * rate)]
    return {"waveform": waveform, "sample_rate": rate} if waveform.shape[-1] else None
