"""What the training nodes' widgets offer; apart from what does it, so that the host's start reads no more than this."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TINY_SIZE = "128x128"
CUTS: Mapping[str, Mapping[str, Any]] = {
    "480p": {"buckets": (640,)},
    "256p": {"buckets": (256,)},
    "720p": {"buckets": (960,)},
    TINY_SIZE: {"sizes": ((128, 128),)},
}
"""What an artist calls a resolution -> the sizes that samples are cut to; the last is the built-in model's."""

AUTO, TINY, SMALL_CARD, LARGE_CARD = "auto", "loom-tiny", "16 GB", "24 GB"
RECIPES: Mapping[str, str | None] = {
    AUTO: None,
    LARGE_CARD: "lora-24gb.yaml",
    SMALL_CARD: "lora-16gb.yaml",
    TINY: "tiny/lora.yaml",
}
"""Word -> config file; auto takes what suits the model and the card."""
NO_LORA = "none"

NUMBER, REPLACE, REFUSE = "add a number", "replace it", "refuse"
IF_THERE = (NUMBER, REPLACE, REFUSE)
"""What to do where a LoRA file of a name is there."""
