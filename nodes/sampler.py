"""The all-in-one sampler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfy_api.latest import io

from ..loom_core.config.sampling import MAX_STEPS
from ..loom_core.config.speed import EXACT
from ..loom_core.sampling.solvers import SOLVERS
from .adapter.sampling.checks import config_of
from .adapter.sampling.denoising import denoise_latent
from .adapter.sampling.guider import CascadedGuider
from .adapter.sampling.settings import run_settings
from .sampling import (
    CATEGORY,
    DENOISE_TOOLTIP,
    SHIFT_TOOLTIP,
    SOLVER_TOOLTIP,
    conditioning_inputs,
    guidance_inputs,
    speed_inputs,
)

LARGEST_SEED = 2**64 - 1


class LoomVideoSampler(io.ComfyNode):
    """Guider, solver and schedule in one, with defaults by model and task."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See `io.ComfyNode`."""
        return io.Schema(
            node_id="LoomVideoSampler",
            display_name="LoomVideo Sampler",
            category=CATEGORY,
            description="Makes the video or image: cascaded guidance, the official solver and schedule, with defaults "
            "that suit the model and the task. Shows a preview, the time left and which branches run.",
            search_aliases=["ksampler", "sampler", "generate", "denoise", "loom"],
            inputs=[
                *conditioning_inputs(),
                io.Latent.Input(
                    "latent",
                    tooltip="Its size is the result's: from LoomVideo Source Latent Scaler for an edit, "
                    "else from LoomVideo Empty Latent.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=LARGEST_SEED,
                    control_after_generate=True,
                    tooltip="Of the noise. The same seed gives the same result.",
                ),
                io.Int.Input(
                    "steps",
                    default=0,
                    min=0,
                    max=MAX_STEPS,
                    tooltip="Denoising steps. 0 is the model's default (released model: 50, built-in model: 12).",
                ),
                *guidance_inputs(),
                io.Combo.Input("solver", options=list(SOLVERS), default="unipc", tooltip=SOLVER_TOOLTIP),
                io.Float.Input(
                    "shift", default=5.0, min=0.0, max=100.0, step=0.1, advanced=True, tooltip=SHIFT_TOOLTIP
                ),
                io.Float.Input(
                    "denoise", default=1.0, min=0.0, max=1.0, step=0.01, advanced=True, tooltip=DENOISE_TOOLTIP
                ),
                *speed_inputs(),
            ],
            outputs=[io.Latent.Output("LATENT", tooltip="For VAE Decode.")],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        positive: Any,
        negative: Any,
        latent: Mapping[str, Any],
        *,
        seed: int,
        steps: int,
        guidance_scale: float,
        visual_guidance_scale: float,
        solver: str,
        shift: float,
        denoise: float,
        speed: str = EXACT,
        guidance_every: int = 1,
        visual: Any = None,
    ) -> io.NodeOutput:
        """See `io.ComfyNode`."""
        settings = run_settings(
            config_of(model),
            positive,
            steps=steps,
            guidance_scale=guidance_scale,
            visual_guidance_scale=visual_guidance_scale,
            solver=solver,
            shift=shift,
            speed=speed,
            guidance_every=guidance_every,
        )
        guider = CascadedGuider(model, positive=positive, negative=negative, visual=visual, settings=settings)
        made = denoise_latent(guider, latent, settings=settings, seed=seed, denoise=denoise, positive=positive)
        return io.NodeOutput(made)
