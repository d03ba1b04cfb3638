"""References in slots that grow as they are filled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfy_api.latest import io, ui

from .adapter.media.latents import encode_frames
from .adapter.media.reference_slots import (
    FITS,
    ONE_A_FRAME,
    ONE_OF_MANY,
    SLOTS,
    connected_images,
    parse_indices,
    reference_pictures,
)
from .adapter.media.strip import picture_strip
from .adapter.media.vae import check_vae
from .adapter.progress import NodeProgress
from .conditioning import CATEGORY
from .inputs import size_inputs
from .sockets import ReferenceClip, References


class LoomVideoReferenceSlots(io.ComfyNode):
    """Pictures in slots to a row of references."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See `io.ComfyNode`."""
        image = io.Image.Input("image", tooltip="A reference. The prompt names it by the number of its slot.")
        return io.Schema(
            node_id="LoomVideoReferenceSlots",
            display_name="LoomVideo Reference Slots",
            category=CATEGORY,
            description="Pictures of people, things, clothes or places that the prompt names as @Image 1, @Image 2 ... "
            "in the order of their slots. Shows them with their numbers. A new slot appears when the last is filled.",
            search_aliases=["reference image", "references", "subject", "multi reference", "@image", "ip adapter"],
            has_intermediate_output=True,  # the strip comes back after a reload, and when nothing had to run
            inputs=[
                io.Vae.Input("vae", tooltip="From LoomVideo VAE Loader."),
                io.Autogrow.Input(
                    "images",
                    template=io.Autogrow.TemplateNames(image, names=list(SLOTS), min=1),
                    tooltip="The references, image_1 first. No slot in the middle may be empty.",
                ),
                *size_inputs("the result"),
                io.Combo.Input(
                    "fit",
                    options=list(FITS),
                    default="cover",
                    tooltip="cover fills the size and cuts the edges off, as in training; contain keeps the whole "
                    "picture and adds black bars; native size keeps each picture's own size and shape.",
                ),
                io.Combo.Input(
                    "batch",
                    options=[ONE_A_FRAME, ONE_OF_MANY],
                    default=ONE_A_FRAME,
                    tooltip="What several frames in one slot are: a reference each, or one moving reference.",
                ),
                io.String.Input(
                    "temporal_indices",
                    default="",
                    optional=True,
                    advanced=True,
                    tooltip="Where the references lie in time, such as -10, -20; one number below 0 for each. "
                    "Empty is -10, -20, -30 ... as trained.",
                ),
            ],
            outputs=[
                References.Output("references", tooltip="For LoomVideo Deepstack Encode."),
                io.Image.Output("preview", tooltip="The strip that the node shows: each reference as it goes in."),
            ],
        )

    @classmethod
    def execute(
        cls,
        vae: Any,
        width: int,
        height: int,
        *,
        fit: str,
        batch: str,
        images: Mapping[str, Any] | None = None,
        temporal_indices: str = "",
    ) -> io.NodeOutput:
        """See `io.ComfyNode`."""
        check_vae(vae)
        filled, is_one_a_frame = connected_images(images or {}), batch == ONE_A_FRAME
        pictures = reference_pictures(filled, size=(width, height), fit=fit, is_one_a_frame=is_one_a_frame)
        indices = parse_indices(temporal_indices, len(pictures))
        progress = NodeProgress()
        clips = tuple(
            ReferenceClip(
                one.frames,
                encode_frames(vae, one.frames, what=f"reference {number} of {len(pictures)}", progress=progress),
                index,
            )
            for number, (one, index) in enumerate(zip(pictures, indices, strict=True), start=1)
        )
        notices = dict.fromkeys(one.notice for one in pictures if one.notice)
        progress.text("\n".join([f"{len(clips)} reference{'s' if len(clips) > 1 else ''}", *notices]))
        strip = picture_strip([clip.frames[0] for clip in clips], [_label(*numbered) for numbered in enumerate(clips)])
        shown = {
            **ui.PreviewImage(strip.image, cls=cls).as_dict(),
            # what the panel of web/js/strip cannot know before a run
            "loom_counts": [len(image) if is_one_a_frame else 1 for image in filled],
            "loom_boxes": list(strip.boxes),
            "loom_size": [width, height],
        }
        return io.NodeOutput(clips, strip.image, ui=shown)


def _label(position: int, clip: ReferenceClip) -> tuple[str, ...]:
    num_frames, height, width = clip.frames.shape[:3]
    frames = f", {num_frames} frames" if num_frames > 1 else ""
    return f"@Image {position + 1}", f"{width} x {height}{frames}", f"time {clip.temporal_index}"
