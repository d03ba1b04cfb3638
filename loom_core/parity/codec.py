"""The Wan VAE: posterior, normalised latents, decoded pixels."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from einops import rearrange
from torch import Tensor

from ..vae.latents import denormalise, normalise
from ..vae.wan import WanCodec
from .cases import Case
from .report import CaseReport

PIXEL_ATOL = 1e-5
IMAGE_DIMS = 3


@lru_cache(maxsize=2)
def load_codec(root: Path, name: str) -> WanCodec:
    """The VAE of `models/<name>`, in float32."""
    return WanCodec.load(root / "models" / name / "vae")


def check_codec(case: Case, report: CaseReport) -> None:
    """A `vae` case."""
    tensors = case.tensors
    codec = load_codec(case.root, case.about["model"])
    pixels = tensors["pixels"]
    if pixels.dim() == IMAGE_DIMS:
        pixels = pixels[:, None]
    posterior = codec.encode_posterior(pixels[None])
    mode = codec.encode(pixels[None])
    decoded = codec.decode(tensors["latents_mode"])
    results: dict[str, Tensor] = {
        "posterior_mean": posterior.mean,
        "posterior_logvar": posterior.logvar,
        "latents_sampled": normalise(posterior.sample(tensors["posterior_noise"]), codec.statistics),
        "latents_mode": mode,
        "denormalised": denormalise(mode, codec.statistics),
        "decoded": decoded,
        "video_np": rearrange(decoded[0] / 2 + 0.5, "c f h w -> f h w c"),
    }
    for name, result in results.items():
        if name in tensors:
            report.close(name, result, tensors[name], atol=PIXEL_ATOL)
