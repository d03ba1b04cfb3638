"""From a user's words to where and in which precision a run computes."""

from __future__ import annotations

import torch

from ..config.model import parse_rope_precision
from ..errors import ConfigError
from ..geometry import SPATIAL_STRIDE
from ..pipeline import Compute
from ..weights.dtypes import dtype_from_choice


def choose_device(name: str | None) -> torch.device:
    """The device of a name; the fastest present when None.

    Raises:
        ConfigError: It does not exist here.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device {name!r}, which cannot be used ({str(error).splitlines()[0]})",
            expected="cpu, or cuda or mps where there is one",
            fix="leave --device out",
        ) from error
    return device


def choose_compute(
    *, device: str | None = None, dtype: str | None = None, rope: str | None = None, tile_pixels: int | None = None
) -> Compute:
    """Where and how to compute, from words.

    Args:
        device: "cpu", "cuda", "cuda:1", "mps"; None for the fastest present.
        dtype: "bf16", "fp16", "fp32"; None for bf16 on a GPU, fp32 on a CPU.
        rope: "exact" or "bf16"; None for what the weights were trained with.
        tile_pixels: Side of the VAE's tiles, a multiple of 16; None for whole frames.

    Raises:
        ConfigError: A word is unknown.
    """
    if tile_pixels is not None and (tile_pixels < SPATIAL_STRIDE or tile_pixels % SPATIAL_STRIDE):
        raise ConfigError(f"tiles of {tile_pixels} pixels", expected="a multiple of 16 pixels", fix="use 256 or 512")
    chosen = choose_device(device)
    default = torch.float32 if chosen.type == "cpu" else torch.bfloat16
    return Compute(
        device=chosen,
        dtype=dtype_from_choice(dtype or "keep") or default,
        rope_precision=None if rope is None else parse_rope_precision(rope),
        tile_latents=None if tile_pixels is None else tile_pixels // SPATIAL_STRIDE,
    )
