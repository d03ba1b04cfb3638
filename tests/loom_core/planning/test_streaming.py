"""Sizes of streamed weights are those of the modules, and what moves is what was counted."""

import pytest
import torch

from loom_core.config.model import LOOMVIDEO_5B
from loom_core.mllm.loading import QWEN3_VL_8B, build_empty
from loom_core.models.dit import LoomDiT
from loom_core.offload import blocks
from loom_core.planning.sizes import FORMATS, MLLMSizes
from loom_core.planning.streaming import (
    BUS_RATES,
    LEAST_STREAMED,
    NUM_SLOTS,
    block_bytes,
    bus_seconds,
    bytes_a_step,
    bytes_saved,
    mllm_bytes_a_prompt,
    mllm_bytes_saved,
)

BF16 = FORMATS["bf16"]


def bytes_of(module):
    return sum(tensor.nbytes for tensor in blocks.tensors_of(module))


def test_blocks_of_the_released_dit():
    model = LoomDiT(LOOMVIDEO_5B, device="meta", dtype=torch.bfloat16)
    block = bytes_of(model.blocks[0])
    assert block_bytes(LOOMVIDEO_5B, BF16) == block
    assert bytes_a_step(LOOMVIDEO_5B, BF16, streamed=30) == bytes_of(model.blocks)
    assert bytes_saved(LOOMVIDEO_5B, BF16, streamed=30) == bytes_of(model.blocks) - 2 * block
    slots = 2 * blocks.slot_bytes(blocks.tensors_of(model.blocks[0]))
    assert slots == pytest.approx(2 * block, rel=1e-4)


def test_few_blocks_stay_in_their_slots():
    for streamed in range(LEAST_STREAMED):
        assert bytes_a_step(LOOMVIDEO_5B, BF16, streamed=streamed) == 0
        assert bytes_saved(LOOMVIDEO_5B, BF16, streamed=streamed) <= 0
    assert bytes_saved(LOOMVIDEO_5B, BF16, streamed=LEAST_STREAMED) > 0


def test_layers_of_the_released_mllm():
    pytest.importorskip("transformers", reason="Qwen3-VL comes from transformers")
    text = build_empty(QWEN3_VL_8B).to(torch.bfloat16).language_model
    sizes = MLLMSizes()
    assert mllm_bytes_a_prompt(sizes, BF16) == bytes_of(text.layers)
    saved = bytes_of(text.layers) - 2 * bytes_of(text.layers[0]) + bytes_of(text.embed_tokens)
    assert mllm_bytes_saved(sizes, BF16) == saved


def test_numbers_are_those_of_what_streams():
    assert NUM_SLOTS == blocks.NUM_SLOTS


def test_time_is_bytes_over_the_rate_of_the_bus():
    for bus, rate in BUS_RATES.items():
        assert bus_seconds(int(3 * rate), bus) == 3
