"""LoomVideo as a model of the host: which conditions it takes, and what they become before a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from comfy import conds, context_windows, model_management
from comfy.model_base import BaseModel, ModelType
from einops import repeat
from torch import Tensor

from ....loom_core.errors import ConfigError
from ....loom_core.geometry import PATCH
from ....loom_core.models.rope import reference_temporal_index
from ....loom_core.models.source import NUM_TRAIN_TIMESTEPS
from ....loom_core.planning.denoise import ForwardSizes, step_bytes
from ....loom_core.planning.moments import MARGIN
from ..conditioning import (
    REFERENCE_INDICES,
    REFERENCE_LATENTS,
    SOURCE_CURVE,
    SOURCE_LATENT,
    SOURCE_MASK,
    SOURCE_STRENGTH,
)
from ..sampling.checks import VIDEO_DIMENSIONS, check_conditioning, check_pictures
from .config import LoomVideoConfig
from .diffusion_model import HostDiT

TIME = 2
"""Dimension of latents [B, C, F, H, W] over which context windows slide."""


class LoomVideoModel(BaseModel):
    """A LoomVideo model of the host's.

    Args:
        model_config: Its configuration.
        device: Where its weights are made.
    """

    def __init__(self, model_config: LoomVideoConfig, device: torch.device | None = None) -> None:
        super().__init__(model_config, ModelType.FLOW, device=device, unet_model=HostDiT)
        self.loom_config = model_config.loom_config
        self.integer_timesteps = model_config.integer_timesteps
        self.memory_usage_factor_conds = ("ref_latents",)

    def process_timestep(self, timestep: Tensor, **_: Any) -> Tensor:
        """The timestep that the model is told.

        Here and not in `model_sampling`, since nodes that change the shift put another object in its place.

        Args:
            timestep: float32 [B], 1000 sigma.
        """
        if not self.integer_timesteps:
            return timestep
        # parity: the official scheduler casts to an integer, and begins just below 1000; the host begins at it
        return timestep.floor().clamp(max=NUM_TRAIN_TIMESTEPS - 1)

    def extra_conds(self, **kwargs: Any) -> dict[str, Any]:
        """What the model takes of a conditioning, made once a run and for all its steps.

        Args:
            kwargs: The conditioning's values and the host's own: cross_attn, noise, device, prompt_type, hooks ...

        Raises:
            ConfigError: The conditioning was made for another model, or does not fit the latents.
        """
        states, name = kwargs.get("cross_attn"), kwargs.get("prompt_type") or "conditioning"
        check_conditioning([[states, kwargs]], config=self.loom_config, name=name)
        check_pictures(kwargs, kwargs["noise"], config=self.loom_config)
        out: dict[str, Any] = super().extra_conds(**kwargs)
        out.pop("c_crossattn", None)
        return out | self._context(kwargs) | self._source(kwargs) | self._references(kwargs)

    def _context(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Projected contexts; where hooks may change the projector from step to step, the states themselves."""
        states = kwargs["cross_attn"]
        if kwargs.get("hooks") is not None:
            return {"mllm_states": conds.CONDRegular(states)}
        like = torch.empty(0, dtype=self.get_dtype_inference(), device=kwargs["device"])
        return {"c_crossattn": conds.CONDRegular(self.diffusion_model.project(states, like))}

    def _source(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        source = kwargs.get(SOURCE_LATENT)
        if source is None:
            return {}
        out = {
            "source_latent": conds.CONDNoiseShape(self.process_latent_in(source.to(kwargs["device"]))),
            "source_strength": conds.CONDConstant(float(kwargs.get(SOURCE_STRENGTH, 1.0))),
        }
        if curve := kwargs.get(SOURCE_CURVE):
            out["source_curve"] = conds.CONDConstant(tuple(map(tuple, curve)))
        mask = kwargs.get(SOURCE_MASK)
        if mask is not None:
            out["source_mask"] = conds.CONDNoiseShape(_mask_of_latents(mask, source).to(kwargs["device"]))
        return out

    def _references(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        latents = kwargs.get(REFERENCE_LATENTS)
        if not latents:
            return {}
        given = tuple(kwargs.get(REFERENCE_INDICES) or ())
        defaults = tuple(reference_temporal_index(position) for position in range(len(given), len(latents)))
        videos = [latent if latent.ndim == VIDEO_DIMENSIONS else latent.unsqueeze(TIME) for latent in latents]
        return {
            "ref_latents": conds.CONDList([self.process_latent_in(video.to(kwargs["device"])) for video in videos]),
            "ref_indices": conds.CONDConstant((given + defaults)[: len(latents)]),
        }

    def resize_cond_for_context_window(  # noqa: PLR0917 - the host's own signature
        self,
        cond_key: str,
        cond_value: Any,
        window: Any,
        x_in: Tensor,
        device: torch.device,
        retain_index_list: Sequence[int] = (),
    ) -> Any:
        """A condition's part in a window: of the source its own frames, of contexts and references the whole."""
        if cond_key in ("source_latent", "source_mask"):
            return context_windows.slice_cond(
                cond_value, window, x_in, device, temporal_dim=TIME, retain_index_list=list(retain_index_list)
            )
        # not left to the host, which would cut whatever happens to be as long as the video
        return cond_value if cond_key in ("c_crossattn", "mllm_states", "ref_latents") else None

    def extra_conds_shapes(self, **kwargs: Any) -> dict[str, Any]:
        """Sizes of what `extra_conds` will make, before it has, for an estimate of memory."""
        out: dict[str, Any] = {}
        if latents := kwargs.get(REFERENCE_LATENTS):
            channels = self.loom_config.in_channels
            out["ref_latents"] = [1, channels, sum(latent.numel() for latent in latents) // channels]
        states = kwargs.get("cross_attn")
        if states is not None:
            out["c_crossattn"] = [*states.shape[:2], self.loom_config.num_layers * self.loom_config.hidden_size]
        return out

    def memory_required(
        self, input_shape: Sequence[int], cond_shapes: Mapping[str, Sequence[Sequence[int]]] | None = None
    ) -> float:
        """Bytes that a step needs, as planned for the command line, and the contexts, which stay for the whole run.

        Samples of a batch are padded to the longest context and the most references. Where the host's attention is no
        fused one, its scores count too, and only the host's own rule knows of them.
        """
        shapes = {} if cond_shapes is None else cond_shapes
        contexts = shapes.get("c_crossattn") or ()
        size = model_management.dtype_size(self.get_dtype_inference())
        step = step_bytes(
            ForwardSizes(
                config=self.loom_config,
                target=_tokens(math.prod(input_shape[2:])),
                references=max((_tokens(shape[-1]) for shape in shapes.get("ref_latents") or ()), default=0),
                context=max((shape[1] for shape in contexts), default=0),
                itemsize=size,
                batch=input_shape[0],
                on_gpu=not model_management.is_device_cpu(model_management.get_torch_device()),
                keeps_keys_values=False,
            )
        )
        planned = MARGIN * (step + size * sum(math.prod(shape) for shape in contexts))
        if model_management.xformers_enabled() or model_management.pytorch_attention_flash_attention():
            return planned
        return max(planned, float(super().memory_required(input_shape, cond_shapes=shapes)))


def _tokens(num_latents: int) -> int:
    """Tokens of a number of latents; more than there are where a side is odd and will be padded."""
    return -(-num_latents // (PATCH * PATCH))


def _mask_of_latents(mask: Tensor, source: Tensor) -> Tensor:
    """A mask of tokens [B, F, H / 2, W / 2] as one of latents [B, 1, F, H, W], which the host cuts like latents."""
    frames, height, width = source.shape[2:]
    tokens = (frames, -(-height // PATCH), -(-width // PATCH))
    if tuple(mask.shape[1:]) != tokens:
        raise ConfigError(
            f"a source mask of size {tuple(mask.shape[1:])}",
            expected=f"one number a token of the source, {tokens}",
            fix="connect mask and source to the same LoomVideo Source Latent Scaler",
        )
    latents = repeat(mask, "b f h w -> b 1 f (h p) (w q)", p=PATCH, q=PATCH)
    return latents[..., :height, :width]
