"""What a tensor is called in the LoRA files that are written here; see `adapters.py`."""

from __future__ import annotations

PREFIX = "diffusion_model."
_WEIGHT, _BIAS = ".weight", ".bias"


def file_name_of(weight: str, part: str) -> str:
    """Name of a part of a weight's change.

    Args:
        weight: Wan-native name of what is changed.
        part: "lora_A.weight", "lora_B.weight" or "alpha"; "diff" for the whole of a change, which the bias of a layer
            has under another name.
    """
    if weight.endswith(_BIAS):
        return f"{PREFIX}{weight.removesuffix(_BIAS)}.{part}_b"
    return f"{PREFIX}{weight.removesuffix(_WEIGHT)}.{part}"
