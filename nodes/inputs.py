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
