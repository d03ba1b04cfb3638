"""Decoded samples to what the trainer takes: latents for the DiT, thinned pictures for the MLLM."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ..media.resize import to_pixels
from ..mllm.frames import downsample_indices
from ..protocols import VideoCodec
from ..types import Clip
from .sample import EncodedSample, Sample

Encode = Callable[[Sample], EncodedSample]
"""Makes latents of a sample; the seed is filled in later."""


def encode_sample(
    sample: Sample,
    codec: VideoCodec,
    *,
    dtype: torch.dtype = torch.bfloat16,
    source_to_mllm: bool = True,
    source_to_dit: bool = True,
) -> EncodedSample:
    """Run a sample through the codec.

    Args:
        sample: Decoded.
        codec: Its posterior's mode is taken, so that the same sample has the same latents.
        dtype: Of the latents.
        source_to_mllm: Whether pictures of the source are kept for the MLLM.
        source_to_dit: Whether the source is encoded.

    Returns:
        The sample, on the CPU, with seed 0.
    """
    source = sample.source
    target_latents = _latents(sample.target, codec, dtype)
    source_latents = None
    if source is not None and source_to_dit:
        same = sample.task.is_reconstruction or source is sample.target
        source_latents = target_latents if same else _latents(source, codec, dtype)
    return EncodedSample(
        key=sample.key,
        task=sample.task,
        instruction=sample.instruction,
        target=target_latents,
        source=source_latents,
        references=tuple(_latents(reference, codec, dtype) for reference in sample.references),
        mllm_source=thinned(source) if source is not None and source_to_mllm else None,
        mllm_references=sample.references,
    )


def thinned(clip: Clip) -> Clip:
    """The frames of a clip that the MLLM is handed, see `mllm.frames`."""
    return replace(clip, frames=clip.frames[downsample_indices(clip.num_frames)])


@torch.no_grad()
def _latents(clip: Clip, codec: VideoCodec, dtype: torch.dtype) -> Tensor:
    """Latents [C, F, H, W] of a clip."""
    return codec.encode(to_pixels(clip.frames)[None])[0].to("cpu", dtype)
