"""A clip or image to edit, brought to the model's rate and size and encoded."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..loom_core.geometry import MAX_FRAMES, NATIVE_FPS
from ..loom_core.request import MAX_FPS
from .adapter.media.latents import empty_latent, encode_frames
from .adapter.media.source_mask import check_strength, parse_curve, token_mask
from .adapter.media.source_reading import SourceReading, SourceRequest, read_source
from .adapter.media.vae import check_vae
from .adapter.progress import NodeProgress
from .conditioning import CATEGORY
from .inputs import LONGEST, size_inputs
from .sockets import Source, SourceClip


def _source_inputs() -> list[io.Input]:
    """What is edited, at which size and rate, and how strongly it holds."""
    return [
        io.Vae.Input("vae", tooltip="From LoomVideo VAE Loader."),
        io.MultiType.Input(
            "source", types=[io.Video, io.Image], tooltip="The clip or image to edit: a VIDEO or an IMAGE."
        ),
        *size_inputs("the edit"),
        io.Int.Input(
            "max_frames",
            default=MAX_FRAMES,
            min=1,
            max=LONGEST,
            step=4,
            tooltip="Longest edit in frames at the working rate; cut to 4k + 1. The model was trained on 121. "
            "1 edits the first frame as a still.",
        ),
        io.Float.Input(
            "fps",
            default=NATIVE_FPS,
            min=1.0,
            max=MAX_FPS,
            step=0.01,
            tooltip="Working rate, frames a second. The model was trained at 24.",
        ),
        io.Combo.Input(
            "fit",
            options=["cover", "contain"],
            default="cover",
            tooltip="cover fills the size and cuts the edges off, as in training; contain keeps the whole "
            "picture and adds black bars.",
        ),
        io.Float.Input(
            "strength",
            default=1.0,
            min=0.0,
            max=2.0,
            step=0.01,
            tooltip="How strongly the source holds the result. 1 is as trained; less lets more change.",
        ),
    ]


def _optional_inputs() -> list[io.Input]:
    """What most graphs leave alone."""
    return [
        io.Mask.Input(
            "mask",
            optional=True,
            tooltip="Where the source is added: white adds it, black leaves it out and is made anew. Not an inpainting "
            "mask, where white is what changes. One frame for all, or one for each.",
        ),
        io.String.Input(
            "strength_curve",
            default="",
            optional=True,
            advanced=True,
            tooltip="Strength over the run, as sigma:factor from noise (1) to clean (0), such as 1:1, 0.5:0.8. "
            "Between points it changes evenly. Empty is 1 throughout, as trained.",
        ),
        io.Float.Input(
            "source_fps",
            default=0.0,
            min=0.0,
            max=MAX_FPS,
            step=0.01,
            optional=True,
            advanced=True,
            tooltip="Rate of an IMAGE, frames a second. 0 is the working rate. A VIDEO has its own.",
        ),
        io.Float.Input(
            "start_seconds",
            default=0.0,
            min=0.0,
            max=86400.0,
            step=0.01,  # the browser rounds to it; frames are taken by the nearest
            optional=True,
            advanced=True,
            tooltip="Where in the clip the edit begins, in seconds.",
        ),
    ]


def _outputs() -> list[io.Output]:
    """The source, and what other nodes want to know of it."""
    return [
        Source.Output("source", tooltip="For LoomVideo Deepstack Encode and LoomVideo Restore Video."),
        io.Latent.Output("latent", tooltip="Empty, of the source's size. For the sampler."),
        io.Audio.Output("audio", tooltip="Sound of the part that is edited; nothing if it is silent."),
        io.Float.Output("fps", tooltip="The working rate, frames a second."),
        io.Int.Output("length", tooltip="Number of frames at the working rate."),
        io.Image.Output("images", tooltip="The frames that the model gets."),
    ]


class LoomVideoSourceLatentScaler(io.ComfyNode):
    """VIDEO or IMAGE to a source that is scaled by the noise level and added."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See `io.ComfyNode`."""
        return io.Schema(
            node_id="LoomVideoSourceLatentScaler",
            display_name="LoomVideo Source Latent Scaler",
            category=CATEGORY,
            description="Prepares what is to be edited: frames at the model's rate and size, encoded, and how strongly "
            "they hold the result. Keeps sound, rate, size and length for LoomVideo Restore Video.",
            search_aliases=["source video", "video to video", "vid2vid", "edit", "vae encode", "scale and add"],
            inputs=[*_source_inputs(), *_optional_inputs()],
            outputs=_outputs(),
        )

    @classmethod
    def execute(
        cls,
        vae: Any,
        source: Any,
        width: int,
        height: int,
        *,
        max_frames: int,
        fps: float,
        fit: str,
        strength: float,
        mask: Any = None,
        strength_curve: str = "",
        source_fps: float = 0.0,
        start_seconds: float = 0.0,
    ) -> io.NodeOutput:
        """See `io.ComfyNode`."""
        check_vae(vae)
        check_strength(strength)
        curve, progress = parse_curve(strength_curve), NodeProgress()
        request = SourceRequest(
            width=width,
            height=height,
            fit="contain" if fit == "contain" else "cover",
            fps=fps,
            max_frames=max_frames,
            start_seconds=start_seconds,
            image_fps=source_fps or fps,
        )

        def tell(done: int, total: int) -> None:
            progress.step(done, total)
            progress.text(f"reading the source: {done} of {total}", is_frequent=done < total)

        reading = read_source(source, request, on_frame=tell)
        tokens = None if mask is None else token_mask(mask, reading, request)
        clip = SourceClip(
            frames=reading.frames,
            latents=encode_frames(vae, reading.frames, what="the source", progress=progress),
            fps=fps,
            is_image=len(reading.frames) == 1,
            strength=strength,
            strength_curve=curve,
            mask=tokens,
            origin=reading.origin,
        )
        masked = "" if mask is None else "\nthe source is added where the mask is white, nowhere else"
        progress.text(_about(reading, request) + masked)
        count = len(reading.frames)
        latent = empty_latent(width, height, count)
        return io.NodeOutput(clip, latent, reading.origin.audio, fps, count, reading.frames)


def _about(reading: SourceReading, request: SourceRequest) -> str:
    """What the node shows below its title."""
    origin, count = reading.origin, len(reading.frames)
    if count == 1:
        line = f"a still of {request.width} x {request.height}, from {origin.width} x {origin.height}"
    else:
        line = (
            f"{count} frames of {request.width} x {request.height} at {request.fps:g} a second, from "
            f"{origin.num_frames} of {origin.width} x {origin.height} at {origin.fps:.5g}, "
            f"{'without' if origin.audio is None else 'with'} sound"
        )
    return "\n".join([line, *reading.notices])
