"""Device and precision from words."""

from __future__ import annotations

import pytest
import torch

from loom_core.cli.compute import choose_compute
from loom_core.errors import ConfigError


def test_a_cpu_computes_in_float32_unless_told():
    assert choose_compute(device="cpu").dtype == torch.float32
    assert choose_compute(device="cpu", dtype="bf16").dtype == torch.bfloat16
    assert choose_compute(device="cpu").tile_latents is None
    assert choose_compute(device="cpu", tile_pixels=256, rope="bf16").tile_latents == 16


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"device": "quantum"}, "device 'quantum'"),
        ({"device": "cpu", "dtype": "int3"}, "int3"),
        ({"device": "cpu", "rope": "fp8"}, "exact or bf16"),
        ({"device": "cpu", "tile_pixels": 100}, "multiple of 16"),
        ({"device": "cpu", "tile_pixels": 0}, "multiple of 16"),
    ],
)
def test_unknown_words_are_refused(words, message):
    with pytest.raises(ConfigError, match=message):
        choose_compute(**words)
