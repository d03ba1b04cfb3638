"""What streaming of weights leaves on the device, and what it costs.

A step moves the streamed blocks once, for all branches. Copies run beside computing, so a step takes

    seconds of a step = max(seconds of its work, bytes moved / rate of the bus)

up to the first block of a run, for which nothing waits. The MLLM's layers are moved once a prompt.
"""

from __future__ import annotations

from ..config.model import DiTConfig
from .sizes import MLLMSizes, WeightFormat, block_weights

BUS_RATES = {"PCIe 3.0 x16": 12e9, "PCIe 4.0 x16": 25e9, "PCIe 5.0 x16": 50e9}
"""Bytes a second that copies from pinned memory reach of what each promises; from other memory about half."""
USUAL_BUS = "PCIe 4.0 x16"
NUM_SLOTS = 2
"""Blocks on the device at once: the one that works and the next; `offload.blocks.NUM_SLOTS`."""
LEAST_STREAMED = NUM_SLOTS + 1
"""Fewer blocks would all stay in the slots, and save nothing."""


def block_bytes(config: DiTConfig, form: WeightFormat) -> int:
    """Weights of a block of the DiT."""
    return form.num_bytes(block_weights(config))


def bytes_a_step(config: DiTConfig, form: WeightFormat, *, streamed: int) -> int:
    """What a step moves to the device.

    Args:
        config: Of the DiT.
        form: Number format of its weights.
        streamed: Blocks that are streamed; two or fewer stay where they are.
    """
    return streamed * block_bytes(config, form) if streamed >= LEAST_STREAMED else 0


def bytes_saved(config: DiTConfig, form: WeightFormat, *, streamed: int) -> int:
    """Weights that need not be on the device at once; less than nothing where a block has a slot of its own and more.

    Args:
        config: Of the DiT.
        form: Number format of its weights.
        streamed: Blocks that are streamed; 0 for none, for whom there are no slots either.
    """
    return (streamed - NUM_SLOTS) * block_bytes(config, form) if streamed else 0


def mllm_bytes_a_prompt(sizes: MLLMSizes, form: WeightFormat) -> int:
    """What reading a prompt moves to the device: all layers."""
    return sizes.num_layers * form.num_bytes(sizes.layer_weights)


def mllm_bytes_saved(sizes: MLLMSizes, form: WeightFormat) -> int:
    """Weights of the MLLM that need not be on the device at once: layers but for two, and the table of words."""
    return (sizes.num_layers - NUM_SLOTS) * form.num_bytes(sizes.layer_weights) + sizes.num_words * form.itemsize


def bus_seconds(num_bytes: int, bus: str = USUAL_BUS) -> float:
    """Time of a copy from pinned memory.

    Args:
        num_bytes: That are moved.
        bus: A name of `BUS_RATES`.
    """
    return num_bytes / BUS_RATES[bus]
