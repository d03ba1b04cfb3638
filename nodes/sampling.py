"""Guider, sampler and scheduler of their own, for ComfyUI's SamplerCustomAdvanced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfy_api.latest import io

from ..loom_core.config.sampling import MAX_GUIDANCE, MAX_STEPS, SamplingConfig
from ..loom_core.config.speed import EXACT, SPEEDS
from ..loom_core.errors import ConfigError
from ..loom_core.sampling.schedule import token_shift
from ..loom_core.sampling.solvers import SOLVERS
from .adapter.progress import NodeProgress
from .adapter.sampling.checks import config_of
from .adapter.sampling.guider import CascadedGuider
from .adapter.sampling.sampler import flow_sampler, flow_sigmas
from .adapter.sampling.settings import default_steps, run_settings, token_count

CATEGORY = "LoomVideo/sampling"
SHIFT_TOOLTIP = (
    "How far the steps are moved toward noise. 5 is what the released model is sampled with; "
    "0 takes it from the size, as in training, which suits images and short clips."
)
DENOISE_TOOLTIP = "Share of the run that is taken. Below 1 it starts from the latent instead of from pure noise."
SOLVER_TOOLTIP = (
    "unipc is the official one (second order with a corrector); dpmpp_2m is the same without the corrector; "
    "euler is the simplest."
)


def guidance_inputs() -> list[io.Input]:
    """The two scales, as every node of ours asks for them."""
    return [
        io.Float.Input(
            "guidance_scale",
            default=0.0,
            min=0.0,
            max=MAX_GUIDANCE,
            step=0.1,
            tooltip="How strongly the prompt is followed. 0 is the default of the model and the task "
            "(released model: 5 for generation, 2.5 for edits).",
        ),
        io.Float.Input(
            "visual_guidance_scale",
            default=0.0,
            min=0.0,
            max=MAX_GUIDANCE,
            step=0.1,
            tooltip="How strongly source and references are followed. 0 is the model's default (released model: 1.5); "
            "at 1 the unconditional branch is not needed and a step is faster.",
        ),
    ]


def speed_inputs() -> list[io.Input]:
    """What is left out; optional, so that graphs from before they were there still run."""
    speed = io.Combo.Input(
        "speed",
        options=list(SPEEDS),
        default=EXACT,
        optional=True,
        tooltip="exact computes every branch in every step. balanced and fast leave out what hardly changes from step "
        "to step, and lose a little likeness to the exact result: the help page has numbers. Use either these or "
        "EasyCache, not both.",
    )
    every = io.Int.Input(
        "guidance_every",
        default=1,
        min=1,
        max=MAX_STEPS,
        optional=True,
        advanced=True,
        tooltip="Behind the first fifth of the steps, the branches that only guide run in every Nth step "
        "and are extrapolated in between; 1 runs them in each. Leave it at 1 with balanced or fast.",
    )
    return [speed, every]


def conditioning_inputs() -> list[io.Input]:
    """Model and conditionings, as every node of ours asks for them."""
    return [
        io.Model.Input("model", tooltip="A LoomVideo model."),
        io.Conditioning.Input("positive", tooltip="Of the full prompt, from LoomVideo Deepstack Encode."),
        io.Conditioning.Input("negative", tooltip="Of the negative prompt, from LoomVideo Deepstack Encode."),
        io.Conditioning.Input(
            "visual",
            optional=True,
            tooltip="Of source and references alone, from LoomVideo Deepstack Encode. "
            "Without it the text alone guides; without source and references it is not needed.",
        ),
    ]


class LoomVideoGuider(io.ComfyNode):
    """Cascaded guidance as a GUIDER."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See `io.ComfyNode`."""
        return io.Schema(
            node_id="LoomVideoGuider",
            display_name="LoomVideo Guider",
            category=CATEGORY,
            description="Guides by text and by pictures separately, with up to three branches a step; "
            "for SamplerCustomAdvanced. A branch that has no weight is not run.",
            search_aliases=["cfg", "cfg guider", "guidance", "cascaded guidance", "dual cfg"],
            inputs=[*conditioning_inputs(), *guidance_inputs(), *speed_inputs()],
            outputs=[io.Guider.Output("GUIDER", tooltip="For SamplerCustomAdvanced.")],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        positive: Any,
        negative: Any,
        *,
        guidance_scale: float,
        visual_guidance_scale: float,
        speed: str = EXACT,
        guidance_every: int = 1,
        visual: Any = None,
    ) -> io.NodeOutput:
        """See `io.ComfyNode`."""
        settings = run_settings(
            config_of(model),
            positive,
            guidance_scale=guidance_scale,
            visual_guidance_scale=visual_guidance_scale,
            speed=speed,
            guidance_every=guidance_every,
        )
        guider = CascadedGuider(model, positive=positive, negative=negative, visual=visual, settings=settings)
        NodeProgress().text(guider.describe() + (f"; {guider.notice}" if guider.notice else ""))
        return io.NodeOutput(guider)


class LoomVideoUniPCSampler(io.ComfyNode):
    """The flow solvers as a SAMPLER."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See `io.ComfyNode`."""
        return io.Schema(
            node_id="LoomVideoUniPCSampler",
            display_name="LoomVideo UniPC-Flow Sampler",
            category=CATEGORY,
            description="The solver that LoomVideo is officially sampled with: UniPC of second order in the flow's own "
            "log signal-to-noise. ComfyUI's uni_pc is another discretisation.",
            search_aliases=["unipc", "uni_pc", "sampler", "solver", "flow", "dpm++ 2m"],
            inputs=[io.Combo.Input("solver", options=list(SOLVERS), default="unipc", tooltip=SOLVER_TOOLTIP)],
            outputs=[io.Sampler.Output("SAMPLER", tooltip="For SamplerCustomAdvanced.")],
        )

    @classmethod
    def execute(cls, solver: str) -> io.NodeOutput:
        """See `io.ComfyNode`."""
        return io.NodeOutput(flow_sampler(solver))


class LoomVideoScheduler(io.ComfyNode):
    """The official discretisation as SIGMAS."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See `io.ComfyNode`."""
        return io.Schema(
            node_id="LoomVideoScheduler",
            display_name="LoomVideo Scheduler",
            category=CATEGORY,
            description="The noise levels that LoomVideo is officially sampled at; their last steps differ from those "
            "of ComfyUI's schedulers.",
            search_aliases=["scheduler", "sigmas", "steps", "flow shift", "schedule"],
            inputs=[
                io.Int.Input(
                    "steps",
                    default=0,
                    min=0,
                    max=MAX_STEPS,
                    tooltip="Steps that are taken. 0 is the default of the connected model; without one 50, "
                    "the official count.",
                ),
                io.Float.Input("shift", default=5.0, min=0.0, max=100.0, step=0.1, tooltip=SHIFT_TOOLTIP),
                io.Float.Input("denoise", default=1.0, min=0.0, max=1.0, step=0.01, tooltip=DENOISE_TOOLTIP),
                io.Latent.Input(
                    "latent", optional=True, tooltip="Only read at shift 0, for its size; it is not changed."
                ),
                io.Model.Input("model", optional=True, tooltip="Only read at 0 steps, for its default."),
            ],
            outputs=[io.Sigmas.Output("SIGMAS", tooltip="For SamplerCustomAdvanced.")],
        )

    @classmethod
    def execute(
        cls, steps: int, shift: float, *, denoise: float, latent: Mapping[str, Any] | None = None, model: Any = None
    ) -> io.NodeOutput:
        """See `io.ComfyNode`."""
        checked = SamplingConfig(num_inference_steps=steps or default_steps(model), shift=shift or None)
        if checked.shift is None and latent is None:
            raise ConfigError(
                "shift 0 without a latent", expected="a latent to take the size from", fix="connect one or set shift 5"
            )
        shift = checked.shift or token_shift(token_count(latent or {}))
        return io.NodeOutput(flow_sigmas(checked.num_inference_steps, shift=shift, denoise=denoise))
