"""Where and in which precision a run computes."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from .config.attention import SDPA
from .config.model import RopePrecision


@dataclass(frozen=True, kw_only=True)
class Compute:
    """Device and precisions of a run.

    Args:
        device: Of all parts, each while it works.
        dtype: Of the DiT and the MLLM.
        codec_dtype: Of the codec.
        rope_precision: Of the rotary tables of DiT and MLLM; None takes what the weights were trained with.
        tile_latents: Side of the tiles in which the VAE works, in latents of 16 pixels; None works on whole frames,
            or on a GPU on tiles as large as its free memory allows.
        mllm_device: Where the MLLM reads the prompt; None for `device`.
        keeps_keys_values: Keep each block's keys and values of the contexts over the run; False keeps the projected
            contexts, half as large, from which a block makes them anew at each step.
        compiles: Have torch.compile make the kernels of the DiT's blocks.
        quantises: Name of the way in which torchao quantises the DiT once it is loaded; None for none.
        streamed_blocks: Blocks of the DiT whose weights come to `device` only for their turn; 0 for none.
        attention: What computes the DiT's attention: "sdpa" for torch's own, or a key of `config.attention.PACKAGES`.
        streams_mllm: The MLLM's layers, too, come one after another, and its table of words stays on the CPU.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    codec_dtype: torch.dtype = torch.float32
    rope_precision: RopePrecision | None = None
    tile_latents: int | None = None
    mllm_device: torch.device | None = None
    keeps_keys_values: bool = True
    compiles: bool = False
    quantises: str | None = None
    streamed_blocks: int = 0
    streams_mllm: bool = False
    attention: str = SDPA
