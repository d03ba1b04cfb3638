"""What a model cannot be sampled with, said before it is loaded: another model, foreign conditioning, other sizes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from ....loom_core.config.model import DiTConfig
from ....loom_core.errors import ConfigError, WeightsError
from ....loom_core.geometry import PATCH, SPATIAL_STRIDE, video_frames
from ..conditioning import NUM_LAYERS, REFERENCE_LATENTS, SOURCE_LATENT, Conditioning

VIDEO_DIMENSIONS = 5
"""[B, C, F, H, W]."""
ENCODE_NODE = "LoomVideo Deepstack Encode"


def config_of(model: Any) -> DiTConfig:
    """Sizes of the LoomVideo model behind a MODEL.

    Args:
        model: The host's model patcher.

    Raises:
        WeightsError: It is another kind of model.
    """
    inner = getattr(model, "model", None)
    config = getattr(inner, "loom_config", None)
    if not isinstance(config, DiTConfig):
        raise WeightsError(
            f"a MODEL of another kind ({type(inner).__name__})",
            expected="a LoomVideo model",
            fix="load it with LoomVideo Model Loader",
        )
    return config


def check_conditioning(conditioning: Conditioning, *, config: DiTConfig, name: str) -> None:
    """Refuse conditioning that was not made for the model.

    Args:
        conditioning: The host's CONDITIONING.
        config: Sizes of the model.
        name: Of the input it came in by, for the message.

    Raises:
        ConfigError: It is empty, of another encoder, or made for a model of another depth or width.
    """
    if not conditioning:
        raise ConfigError(f"an empty conditioning at {name}", expected="one entry or more", fix=f"use {ENCODE_NODE}")
    for states, values in conditioning:
        width = 0 if states is None else states.shape[-1]
        if width == config.num_layers * config.mllm_dim:
            continue
        layers = values.get(NUM_LAYERS)
        made = f"{layers} layers of {width // layers} numbers" if layers else f"{width} numbers a token"
        raise ConfigError(
            f"conditioning at {name} with {made}",
            expected=f"{config.num_layers} layers of {config.mllm_dim}, as this model reads them",
            fix=f"make it with {ENCODE_NODE} and the encoder that belongs to the model "
            "(Qwen3-VL-8B for the released weights, built-in: loom-tiny for the built-in model)",
        )


def check_latents(latents: Tensor, *, config: DiTConfig, conditions: Iterable[Mapping[str, Any]]) -> None:
    """Refuse latents that the model cannot be sampled into.

    Args:
        latents: [B, C, F, H, W].
        config: Sizes of the model.
        conditions: The values of every conditioning that takes part.

    Raises:
        ConfigError: Channels, number of dimensions or sides do not fit the model, numbers are not finite, or the
            source or a reference is of another size or VAE.
    """
    if latents.is_nested or latents.ndim != VIDEO_DIMENSIONS:
        shape = "several latents in one" if latents.is_nested else f"latents of {latents.ndim} dimensions"
        raise ConfigError(shape, expected="one video latent", fix="use LoomVideo Empty Latent")
    _check_channels(latents, config=config, what="latents")
    if 0 in latents.shape or latents.shape[-1] % PATCH or latents.shape[-2] % PATCH:
        raise ConfigError(
            f"latents of {describe_size(latents)}",
            expected="width and height to be multiples of 32 pixels",
            fix="use LoomVideo Size Helper or LoomVideo Empty Latent",
        )
    if not bool(torch.isfinite(latents).all()):
        raise ConfigError(
            "latents that are not finite", expected="finite numbers", fix="check the node that made them, such as a VAE"
        )
    for values in conditions:
        check_pictures(values, latents, config=config)


def check_pictures(values: Mapping[str, Any], latents: Tensor, *, config: DiTConfig) -> None:
    """Refuse a source or references that do not fit the latents.

    Args:
        values: Of one conditioning.
        latents: [B, C, F, H, W].
        config: Sizes of the model.

    Raises:
        ConfigError: The source is of another size or VAE, or a reference is of another VAE.
    """
    source = values.get(SOURCE_LATENT)
    if source is not None:
        _check_channels(source, config=config, what="source latents")
        if source.shape[2:] != latents.shape[2:]:
            raise ConfigError(
                f"latents of {describe_size(latents)} with a source of {describe_size(source)}",
                expected="both of one size",
                fix="connect the latent that LoomVideo Source Latent Scaler gives out",
            )
    for number, reference in enumerate(values.get(REFERENCE_LATENTS) or (), start=1):
        _check_channels(reference, config=config, what=f"latents of reference {number}")


def _check_channels(latents: Tensor, *, config: DiTConfig, what: str) -> None:
    if latents.shape[1] != config.in_channels:
        raise ConfigError(
            f"{what} with {latents.shape[1]} channels",
            expected=f"{config.in_channels}, as the Wan 2.2 VAE makes them",
            fix="use wan2.2_vae.safetensors (or built-in: loom-tiny) in LoomVideo VAE Loader",
        )


def describe_size(latents: Tensor) -> str:
    """Size of video latents in a user's terms.

    Args:
        latents: [B, C, F, H, W].
    """
    frames, height, width = latents.shape[-3:]
    pixels = f"{width * SPATIAL_STRIDE} x {height * SPATIAL_STRIDE}"
    num_frames = video_frames(frames)
    return f"{num_frames} frame{'s' if num_frames != 1 else ''} of {pixels}"
