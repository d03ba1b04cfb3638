"""What the numbers on our sampling nodes stand for: 0 is the model's or the task's own default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ....loom_core.bundle import default_preset_name
from ....loom_core.config.model import DiTConfig
from ....loom_core.config.presets import get_preset, sampling_config
from ....loom_core.config.sampling import SamplingConfig
from ....loom_core.config.speed import EXACT
from ....loom_core.geometry import SPATIAL_STRIDE, LatentShape
from ....loom_core.types import Task
from ..conditioning import REFERENCE_LATENTS, SOURCE_LATENT, Conditioning, task_of
from ..run_state import TokenCounts
from .checks import VIDEO_DIMENSIONS, config_of


def run_settings(
    config: DiTConfig,
    positive: Conditioning,
    *,
    steps: int = 0,
    guidance_scale: float = 0.0,
    visual_guidance_scale: float = 0.0,
    solver: str | None = None,
    shift: float | None = None,
    speed: str = EXACT,
    guidance_every: int | None = None,
) -> SamplingConfig:
    """Settings of a run.

    Args:
        config: Sizes of the model; one that is smaller than the released one has defaults of its own.
        positive: Conditioning of the full prompt; it names the task.
        steps: Denoising steps, 1 to 1000; 0 for the model's default.
        guidance_scale: Text guidance, up to 30; 0 for the default of model and task.
        visual_guidance_scale: Visual guidance, up to 30; 0 for the model's default.
        solver: Name of a solver; None for the model's default.
        shift: Of the schedule, 0 to take it from the token count; None for the usual one.
        speed: Name of a speed: what is left out.
        guidance_every: Steps from one with all branches to the next, behind the first ones; None for the speed's.

    Raises:
        ConfigError: A number is out of range, or no speed has the name.
    """
    return sampling_config(
        get_preset(default_preset_name(config)),
        _task_or_guess(positive),
        num_inference_steps=steps or None,
        guidance_scale=guidance_scale or None,
        visual_guidance_scale=visual_guidance_scale or None,
        solver=solver,
        shift=shift,
        speed=speed,
        guidance_every=guidance_every,
    )


def default_steps(model: Any = None) -> int:
    """Steps that a run takes unless told otherwise.

    Args:
        model: The host's model patcher; None for the official count.

    Raises:
        WeightsError: It is another kind of model.
    """
    name = "official" if model is None else default_preset_name(config_of(model))
    return get_preset(name).num_inference_steps


def _task_or_guess(positive: Conditioning) -> Task:
    """The task that a conditioning names; where another node made it, an edit if there is a source."""
    is_edit = any(values.get(SOURCE_LATENT) is not None for _, values in positive)
    return task_of(positive) or (Task.EDIT_VIDEO if is_edit else Task.TEXT_TO_VIDEO)


def token_count(latent: Mapping[str, Any], positive: Conditioning | None = None) -> int:
    """Tokens that a run works on, by which its schedule can be shifted: the target's and the references'.

    Args:
        latent: The host's LATENT; one that is empty may have been made for another VAE's scale.
        positive: Conditioning of the full prompt.
    """
    scale = latent.get("downscale_ratio_spacial", SPATIAL_STRIDE) / SPATIAL_STRIDE
    references = (positive[0][1].get(REFERENCE_LATENTS) or ()) if positive else ()
    return _tokens(latent["samples"].shape, scale=scale) + sum(_tokens(one.shape) for one in references)


def token_counts(latent: Mapping[str, Any], positive: Conditioning | None = None) -> TokenCounts:
    """The same one by one, for the user.

    Args:
        latent: See `token_count`.
        positive: See `token_count`.
    """
    target = token_count(latent)
    context = int(positive[0][0].shape[1]) if positive else None
    return TokenCounts(target=target, references=token_count(latent, positive) - target, context=context)


def _tokens(shape: Sequence[int], *, scale: float = 1.0) -> int:
    """Tokens of latents [B, C, H, W] or [B, C, F, H, W]."""
    frames = shape[2] if len(shape) == VIDEO_DIMENSIONS else 1
    return LatentShape(frames, round(shape[-2] * scale), round(shape[-1] * scale)).tokens
