"""Which ComfyUI this is."""

from __future__ import annotations

import re

import comfyui_version

MINIMUM_VERSION = "0.28.0"
"""Older hosts read pictures for Qwen3-VL wrongly, without an error."""


def version() -> str:
    """The host's version, as it says."""
    return str(comfyui_version.__version__)


def is_supported(found: str | None = None) -> bool:
    """Whether the host is new enough.

    Args:
        found: A version; None for that of the host. One that cannot be read counts as new enough: forks name
            themselves as they like.
    """
    numbers = _numbers(found or version())
    return not numbers or (*numbers, 0, 0)[:3] >= _numbers(MINIMUM_VERSION)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
