"""How much memory a run takes, phase by phase, told before it is queued."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..loom_core.planning.hosted import hosted_plan, phase_lines, verdict_lines
from ..loom_core.planning.run import MOST_REFERENCES, RunSizes
from .adapter.planning import device_of, parts_of
from .adapter.progress import NodeProgress
from .inputs import length_input, size_inputs

CATEGORY = "LoomVideo/latent"
MOST_VRAM = 1024.0


class LoomVideoMemoryPlan(io.ComfyNode):
    """Sizes of a run to what each of its phases takes, and why."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See `io.ComfyNode`."""
        return io.Schema(
            node_id="LoomVideoMemoryPlan",
            display_name="LoomVideo Memory Plan",
            category=CATEGORY,
            description="Tells how much memory a run will take, phase by phase, before it runs: which weights stay on "
            "the GPU, whether the VAE works in tiles, and where it does not fit, what would. Sizes alone decide; "
            "nothing is loaded for it.",
            search_aliases=["vram", "memory", "out of memory", "oom", "gpu memory", "offload", "estimate"],
            is_output_node=True,
            inputs=[
                *size_inputs("the result"),
                length_input("With context windows, the length of a window."),
                io.Int.Input(
                    "references",
                    default=0,
                    min=0,
                    max=MOST_REFERENCES,
                    tooltip="How many reference pictures LoomVideo Reference Slots will hold.",
                ),
                io.Boolean.Input(
                    "has_source", default=True, tooltip="Whether a clip or image is edited; off is text, or references."
                ),
                io.Float.Input(
                    "vram",
                    default=0.0,
                    min=0.0,
                    max=MOST_VRAM,
                    step=1.0,
                    tooltip="GB of a GPU to plan for, say 12. 0 takes what is free on this computer, with what ComfyUI "
                    "would unload for the run.",
                ),
                io.Model.Input(
                    "model",
                    optional=True,
                    tooltip="From LoomVideo Model Loader, in the number format that it has there; the released model "
                    "in bf16 if empty.",
                ),
                io.Clip.Input(
                    "encoder",
                    optional=True,
                    tooltip="From LoomVideo Encoder Loader; Qwen3-VL-8B in bf16 if empty.",
                ),
                io.Vae.Input(
                    "vae", optional=True, tooltip="From LoomVideo VAE Loader; the Wan 2.2 VAE in bf16 if empty."
                ),
            ],
            outputs=[io.String.Output("plan", tooltip="What the node shows, as text.")],
        )

    @classmethod
    def fingerprint_inputs(cls, **_: Any) -> float:
        """Never the same: what is free changes, and a page that was loaded anew has not seen the text."""
        return float("nan")

    @classmethod
    def execute(
        cls,
        width: int,
        height: int,
        length: int,
        references: int,
        *,
        has_source: bool,
        vram: float,
        model: Any = None,
        encoder: Any = None,
        vae: Any = None,
    ) -> io.NodeOutput:
        """See `io.ComfyNode`."""
        run = RunSizes(width=width, height=height, num_frames=length, has_source=has_source, num_references=references)
        parts = parts_of(model, encoder, vae)
        device, on_gpu, where = device_of(vram, encoder)
        plan = hosted_plan(parts.setting(run, on_gpu=on_gpu), device)
        about = f"{run.describe()}, on {where}"
        verdict = verdict_lines(plan)
        assumed = [f"Assumed: {', '.join(parts.assumed)}, in bf16."] if parts.assumed else []
        lines = [*verdict, about, *phase_lines(plan), *assumed]
        NodeProgress().text(verdict[0])  # all that is seen where the panels are turned off
        return io.NodeOutput("\n".join(lines), ui={"text": ("\n".join(lines),), "loom_plan": lines})
