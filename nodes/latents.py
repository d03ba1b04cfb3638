"""How large and how long: a helper for sizes that the model was trained on, and the latent to begin from."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..loom_core.bundle import default_preset_name
from ..loom_core.config.presets import get_preset
from ..loom_core.geometry import NATIVE_FPS
from .adapter.media.latents import empty_latent
from .adapter.media.video_input import source_facts
from .adapter.progress import NodeProgress
from .adapter.sampling.checks import config_of
from .inputs import LONGEST, length_input, size_inputs
from .sizing import ASPECTS, AUTO, FROM_SOURCE, RESOLUTIONS, choose_length, choose_size

CATEGORY = "LoomVideo/latent"
LARGEST_BATCH = 64


class LoomVideoSizeHelper(io.ComfyNode):
    """Words to width, height and length."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See `io.ComfyNode`."""
        return io.Schema(
            node_id="LoomVideoSizeHelper",
            display_name="LoomVideo Size Helper",
            category=CATEGORY,
            description="Sizes and lengths that the model was trained on: multiples of 32 pixels, 4k + 1 frames, "
            "nearest to a source or to what you ask for.",
            search_aliases=["resolution", "aspect ratio", "width height", "length", "frames", "bucket"],
            inputs=[
                io.Combo.Input(
                    "resolution",
                    options=list(RESOLUTIONS),
                    default=AUTO,
                    tooltip="How large. auto is what the model is at its best with: 480p for the released weights, "
                    "about 128 x 128 for the built-in model.",
                ),
                io.Combo.Input(
                    "aspect",
                    options=list(ASPECTS),
                    default=FROM_SOURCE,
                    tooltip="Width to height. from source takes that of the source, or without one the model's own.",
                ),
                io.Int.Input(
                    "length",
                    default=0,
                    min=0,
                    max=LONGEST,
                    tooltip="Frames at 24 a second, cut to 4k + 1; 1 is an image. 0 takes as many as the source has, "
                    "at most 121, or without one the model's default. For LoomVideo Empty Latent: the "
                    "length of an edit is set by max_frames in LoomVideo Source Latent Scaler.",
                ),
                io.Model.Input(
                    "model", optional=True, tooltip="Whose sizes are wanted; the released model's if empty."
                ),
                io.MultiType.Input(
                    "source",
                    types=[io.Video, io.Image],
                    optional=True,
                    tooltip="A VIDEO or IMAGE to take shape and length from. A video file is not decoded for it.",
                ),
            ],
            outputs=[
                io.Int.Output("width", tooltip="In pixels, a multiple of 32."),
                io.Int.Output("height", tooltip="In pixels, a multiple of 32."),
                io.Int.Output("length", tooltip="Number of frames, 4k + 1."),
                io.Float.Output("fps", tooltip="The rate that the model was trained at: 24 frames a second."),
            ],
        )

    @classmethod
    def execute(
        cls, resolution: str, aspect: str, length: int, *, model: Any = None, source: Any = None
    ) -> io.NodeOutput:
        """See `io.ComfyNode`."""
        preset = get_preset("official" if model is None else default_preset_name(config_of(model)))
        facts = None if source is None else source_facts(source)
        frames = choose_length(
            preset,
            length,
            source_frames=None if facts is None else facts.num_frames,
            source_fps=None if facts is None else facts.fps,
        )
        width, height = choose_size(
            preset,
            resolution=resolution,
            aspect=aspect,
            source=None if facts is None else (facts.width, facts.height),
            is_image=frames == 1,
        )
        lines = ["an image" if frames == 1 else f"{frames} frames, {frames / NATIVE_FPS:.1f} s"]
        if length and frames != length:
            lines.append(f"{length} is not 4k + 1")
        NodeProgress().text("\n".join([f"{width} x {height}, {lines[0]}", *lines[1:]]))
        return io.NodeOutput(width, height, frames, NATIVE_FPS)


class LoomVideoEmptyLatent(io.ComfyNode):
    """Size and length to a LATENT of zeros."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See `io.ComfyNode`."""
        return io.Schema(
            node_id="LoomVideoEmptyLatent",
            display_name="LoomVideo Empty Latent",
            category=CATEGORY,
            description="An empty latent for a new video or image. Refuses sizes and lengths the model cannot have.",
            search_aliases=["empty latent", "empty video latent", "latent size", "new video"],
            inputs=[
                *size_inputs("the result"),
                length_input("LoomVideo Size Helper gives it."),
                io.Int.Input(
                    "batch_size",
                    default=1,
                    min=1,
                    max=LARGEST_BATCH,
                    tooltip="How many results, each of another noise. All stand in memory at once.",
                ),
            ],
            outputs=[io.Latent.Output("LATENT", tooltip="For the sampler.")],
        )

    @classmethod
    def execute(cls, width: int, height: int, length: int, batch_size: int) -> io.NodeOutput:
        """See `io.ComfyNode`."""
        return io.NodeOutput(empty_latent(width, height, length, batch_size=batch_size))
