"""Device and precision from words."""

from __future__ import annotations

import pytest
import torch

from loom_core.cli.compute import ComputeWords, choose_compute
from loom_core.config.model import LOOMVIDEO_5B, QUARTER_TWIN
from loom_core.errors import ConfigError


def test_a_cpu_computes_small_models_in_float32_and_large_ones_in_bfloat16():
    words = ComputeWords(device="cpu")
    assert choose_compute(words, QUARTER_TWIN).dtype == torch.float32
    assert choose_compute(words, LOOMVIDEO_5B).dtype == torch.bfloat16
    assert choose_compute(words, QUARTER_TWIN).tile_latents is None


def test_words_win():
    words = ComputeWords(device="cpu", dtype="bf16", vae_dtype="fp16", tile_pixels=256, rope="bf16")
    compute = choose_compute(words, QUARTER_TWIN)
    assert (compute.dtype, compute.codec_dtype) == (torch.bfloat16, torch.float16)
    assert (compute.tile_latents, compute.rope_precision) == (16, "bf16")
    assert compute.mllm_device is None and compute.keeps_keys_values
    compute = choose_compute(ComputeWords(device="cpu", mllm_device="cpu", cache="projections"), QUARTER_TWIN)
    assert compute.mllm_device == torch.device("cpu") and not compute.keeps_keys_values


def test_offload_blocks_streams_all():
    compute = choose_compute(ComputeWords(device="cpu", offload="blocks"), QUARTER_TWIN)
    assert compute.streamed_blocks == QUARTER_TWIN.num_layers and compute.streams_mllm
    for word in ("auto", "none", None):
        compute = choose_compute(ComputeWords(device="cpu", offload=word), QUARTER_TWIN)
        assert not compute.streamed_blocks and not compute.streams_mllm


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"device": "quantum"}, "device 'quantum'.*leave --device out"),
        ({"mllm_device": "quantum"}, "device 'quantum'.*leave --mllm-device out"),
        ({"cache": "states"}, "keys-values or projections"),
        ({"offload": "disk"}, "offload 'disk'; expected auto, none, blocks"),
        ({"attention": "flesh"}, "attention 'flesh'; expected auto, sdpa, flash, sage"),
        ({"dtype": "int3"}, "int3"),
        ({"dtype": "keep"}, "bf16, fp16, fp32"),
        ({"vae_dtype": "int3"}, "int3"),
        ({"rope": "fp8"}, "fp8"),
        ({"tile_pixels": 100}, "multiple of 16"),
        ({"tile_pixels": 16}, "at least 64"),
        ({"tile_pixels": 0}, "multiple of 16"),
    ],
)
def test_unknown_words_are_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        ComputeWords(**wrong)


def test_attention_of_packages_needs_a_gpu():
    assert choose_compute(ComputeWords(device="cpu"), QUARTER_TWIN).attention == "sdpa"
    with pytest.raises(ConfigError, match="attention sage on cpu in float32"):
        choose_compute(ComputeWords(device="cpu", attention="sage"), QUARTER_TWIN)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="device 'cuda'"):
        choose_compute(ComputeWords(device="cuda"), QUARTER_TWIN)
