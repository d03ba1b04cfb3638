"""Inputs that several nodes ask for alike."""

from __future__ import annotations

from comfy_api.latest import io

from ..loom_core.request import MAX_SIDE

LONGEST = 9601
"""Frames, 400 seconds; context windows can edit more than the model sees at once."""


def size_inputs(what: str) -> list[io.Input]:
    """Width and height.

    Args:
        what: Whose they are, for the tooltip ("the result").
    """
    return [
        io.Int.Input(
            name,
            default=default,
            min=32,
            max=MAX_SIDE,
            step=32,
            tooltip=f"{name.capitalize()} of {what} in pixels, a multiple of 32. LoomVideo Size Helper gives it.",
        )
        for name, default in (("width", 832), ("height", 480))
    ]


def length_input(more: str) -> io.Input:
    """Number of frames.

    Args:
        more: Last sentence of the tooltip.
    """
    return io.Int.Input(
        "length",
        default=81,
        min=1,
        max=LONGEST,
        step=4,
        tooltip=f"Number of frames, 4k + 1; 1 is an image. {more}",
    )
