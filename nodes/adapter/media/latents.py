"""Pictures to latents through the host's VAE: checked, cancellable, with progress, in tiles where memory is short."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from comfy import model_management
from torch import Tensor, nn

from ....loom_core.errors import ConfigError, WeightsError
from ....loom_core.geometry import SPATIAL_STRIDE, TEMPORAL_STRIDE, check_frames, check_size, latent_frames, snap_frames
from ....loom_core.vae.latents import LATENT_CHANNELS, RGB
from ..memory import free_and_retry, spare_memory
from ..progress import NodeProgress
from ..run_state import Phase, RunState
from .latent_cache import LatentCache, content_key
from .vae import check_vae

TILE, OVERLAP = 256, 64
"""Pixels a side of a tile, and by how much tiles overlap."""
_LEAST_SIDE = 32

ENCODED = LatentCache()
"""Latents of what was encoded last."""


def encode_frames(vae: Any, frames: Tensor, *, what: str, progress: NodeProgress | None = None) -> Tensor:
    """Encode a clip or a still.

    Args:
        vae: The host's VAE.
        frames: float32 [4k + 1, height, width, 3] in [0, 1], on the CPU; sides are multiples of 32 pixels.
        what: What it is, for the node and for messages ("the source").
        progress: Where it is shown how far this is; None shows nothing, and a cancelled prompt stops all the same.

    Returns:
        Raw latents [1, 48, F, H, W], on the CPU; they may be shared, so nobody may change them.

    Raises:
        WeightsError: The VAE makes other latents, or ones that are not finite.
        ConfigError: The frames are of a size or number that the model cannot have.
        ResourceError: There is not enough memory, not even in tiles and with all else unloaded.
    """
    check_vae(vae)
    num_frames, height, width = frames.shape[:3]
    check_frames(num_frames)
    check_size(width, height)
    key = content_key(frames)
    latents = ENCODED.get(vae.first_stage_model, key)
    if latents is not None:
        return latents
    progress = progress or NodeProgress()
    about = f"encoding {what}"
    size = f"{num_frames} frame{'s' if num_frames > 1 else ''} of {width} x {height}"
    latents = free_and_retry(
        lambda: _encode(vae, frames, progress, about=about),
        then=lambda: _encode(vae, frames, progress, about=f"{about} in tiles", in_tiles=True),
        what=f"{about}, {size}",
        expected=lambda: what_fits(vae, num_frames, width=width, height=height),
    )
    latents = _checked(latents.float().cpu(), (num_frames, height, width))
    ENCODED.put(vae.first_stage_model, key, latents)
    return latents


def _encode(vae: Any, frames: Tensor, progress: NodeProgress, *, about: str, in_tiles: bool = False) -> Tensor:
    """Once through the VAE, whole or in tiles."""
    num_frames, height, width = frames.shape[:3]
    total = latent_frames(num_frames) * (_num_tiles(width, height) if in_tiles else 1)
    done = 0

    def tell() -> None:
        nonlocal done
        done = min(done + 1, total)  # the host repeats what failed, in tiles of its own
        progress.step(done, total)
        progress.report(RunState(phase=Phase.ENCODE, step=done, steps=total))
        progress.text(f"{about}: {done} of {total}", is_frequent=done < total)

    with _watched(vae.first_stage_model, tell):
        if in_tiles:
            return vae.encode_tiled(frames, tile_x=TILE, tile_y=TILE, overlap=OVERLAP)
        return vae.encode(frames)


@contextmanager
def _watched(model: nn.Module, on_part: Callable[[], None]) -> Iterator[None]:
    """Tell of each latent frame, since the host's VAE has no progress of its own for one clip.

    Its encoder is called once for each. What a cancel needs is there without this: each of its layers looks for one.
    """
    encoder = getattr(model, "encoder", None)
    if not isinstance(encoder, nn.Module):
        yield
        return
    handle = encoder.register_forward_hook(lambda *_: on_part())
    try:
        yield
    finally:
        handle.remove()


def _num_tiles(width: int, height: int) -> int:
    """In how many tiles the host cuts a picture."""

    def count(side: int) -> int:
        return len(range(0, side - OVERLAP, TILE - OVERLAP)) if side > TILE else 1

    return count(width) * count(height)


def _checked(latents: Tensor, size: tuple[int, int, int]) -> Tensor:
    num_frames, height, width = size
    expected = (1, LATENT_CHANNELS, latent_frames(num_frames), height // SPATIAL_STRIDE, width // SPATIAL_STRIDE)
    if tuple(latents.shape) != expected:
        raise WeightsError(
            f"a VAE that made latents of shape {list(latents.shape)}",
            expected=f"{list(expected)}",
            fix="use wan2.2_vae.safetensors in LoomVideo VAE Loader",
        )
    if not bool(torch.isfinite(latents).all()):
        raise WeightsError(
            "latents that are not finite",
            expected="finite numbers",
            fix="start ComfyUI with --bf16-vae or --fp32-vae; if that does not help, download the VAE again",
        )
    return latents


def empty_latent(width: int, height: int, num_frames: int, *, batch_size: int = 1) -> dict[str, Any]:
    """The host's LATENT of nothing yet, for a clip or a still.

    Args:
        width: In pixels, a multiple of 32.
        height: The same.
        num_frames: 4k + 1; 1 for a still.
        batch_size: Samples, at least 1.

    Raises:
        ConfigError: A number is none that the model can have.
        ResourceError: It does not fit into memory.
    """
    check_size(width, height)
    check_frames(num_frames)
    if batch_size < 1:
        raise ConfigError(f"batch_size {batch_size}", expected="at least 1", fix="use 1")
    shape = (batch_size, LATENT_CHANNELS, latent_frames(num_frames), height // SPATIAL_STRIDE, width // SPATIAL_STRIDE)
    samples = free_and_retry(
        lambda: torch.zeros(shape, device=model_management.intermediate_device()),
        what=f"making an empty latent of {batch_size} x {num_frames} frames of {width} x {height}",
    )
    return {"samples": samples, "downscale_ratio_spacial": SPATIAL_STRIDE}


def what_fits(vae: Any, num_frames: int, *, width: int, height: int) -> str:
    """What could be encoded with the memory that is free, in words; empty if that cannot be told.

    Args:
        vae: The host's VAE.
        num_frames: Asked for.
        width: Asked for, in pixels.
        height: The same.
    """
    free = spare_memory(vae.device)

    def fits(frames: int, wide: int, high: int) -> bool:
        pixels = frames * wide * high * RGB * vae.vae_dtype.itemsize
        return vae.memory_used_encode((1, RGB, frames, high, wide), vae.vae_dtype) + 2 * pixels <= free

    if fits(num_frames, width, height):
        return ""  # the host's estimate was wrong, and so would ours be
    counts = range(snap_frames(num_frames) - TEMPORAL_STRIDE, 0, -TEMPORAL_STRIDE)
    frames = next((count for count in counts if fits(count, width, height)), 0)
    if frames > 1:
        return f"about {frames} frames of this size"
    for percent in range(95, 0, -5):
        wide, high = (side * percent // 100 // _LEAST_SIDE * _LEAST_SIDE for side in (width, height))
        if min(wide, high) >= _LEAST_SIDE and fits(num_frames, wide, high):
            return f"a size of about {wide} x {high}"
    return ""
