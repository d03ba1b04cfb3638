"""Where and how a run computes."""

from __future__ import annotations

import torch

from loom_core.compute import Compute


def test_the_library_computes_on_the_cpu_in_float32_unless_told():
    compute = Compute()
    assert (compute.device, compute.dtype, compute.codec_dtype) == (torch.device("cpu"), torch.float32, torch.float32)
    assert (compute.rope_precision, compute.tile_latents) == (None, None)
