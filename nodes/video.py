"""An edit, given back as its source came."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import InputImpl, Types, io

from .adapter.media.restoring import BORDERS, EDITED, ORIGINAL, Restored, restore
from .adapter.progress import NodeProgress
from .sockets import Source, SourceClip

CATEGORY = "LoomVideo/video"


class LoomVideoRestoreVideo(io.ComfyNode):
    """Decoded frames of an edit to a VIDEO with the size, rate, length and sound of the source."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See `io.ComfyNode`."""
        return io.Schema(
            node_id="LoomVideoRestoreVideo",
            display_name="LoomVideo Restore Video",
            category=CATEGORY,
            description="Gives an edit back as its source came: size, frames a second, length and sound. "
            "For Save Video; an edited image is at the second output.",
            search_aliases=["create video", "combine", "audio", "original size", "frame rate", "restore"],
            inputs=[
                io.Image.Input("images", tooltip="The edit, from VAE Decode; may be enlarged in between."),
                Source.Input("source", tooltip="What was edited, from LoomVideo Source Latent Scaler."),
                io.Combo.Input(
                    "size",
                    options=[ORIGINAL, EDITED],
                    default=ORIGINAL,
                    tooltip="original scales the edit to the source's size; edited leaves it as it is.",
                ),
                io.Combo.Input(
                    "rate",
                    options=[ORIGINAL, EDITED],
                    default=ORIGINAL,
                    tooltip="original gives as many frames a second as the source has, repeating or leaving out by "
                    "time; edited keeps the working rate.",
                ),
                io.Combo.Input(
                    "border",
                    options=list(BORDERS),
                    default=BORDERS[0],
                    optional=True,
                    advanced=True,
                    tooltip="What stands where cover had cut the edges off. original: the source's own pixels; "
                    "mirror: the edit, continued; cut: nothing, the result is smaller; auto: mirror where it is "
                    "narrow, else original.",
                ),
            ],
            outputs=[
                io.Video.Output("video", tooltip="For Save Video. An edited image is a video of one frame."),
                io.Image.Output("images", tooltip="The same frames; for Save Image when an image was edited."),
            ],
        )

    @classmethod
    def execute(
        cls, images: Any, source: SourceClip, size: str, rate: str, *, border: str = BORDERS[0]
    ) -> io.NodeOutput:
        """See `io.ComfyNode`."""
        progress = NodeProgress()

        def tell(done: int, total: int) -> None:
            progress.step(done, total)
            progress.text(f"restoring: {done} of {total}", is_frequent=True)

        restored = restore(images, source, size=size, rate=rate, border=border, on_frame=tell)
        progress.text(_about(restored))
        return io.NodeOutput(_video(restored), restored.images)


def _video(restored: Restored) -> Any:
    height, width = (side - side % 2 if side > 1 else side for side in restored.images.shape[1:3])
    # most videos have even sides only, and the host's encoder fails on others
    images = restored.images[:, :height, :width]
    return InputImpl.VideoFromComponents(
        Types.VideoComponents(images=images, audio=restored.audio, frame_rate=restored.fps)
    )


def _about(restored: Restored) -> str:
    """What the node shows below its title."""
    count, height, width = restored.images.shape[:3]
    sound = "without sound" if restored.audio is None else "with sound"
    line = f"{count} frames of {width} x {height} at {float(restored.fps):.5g} a second, {sound}"
    line = f"an image of {width} x {height}" if count == 1 else line
    borders = {
        "original": "edges that were not edited are the source's own",
        "mirror": "edges that were not edited are continued from the edit",
        "cut": "edges that were not edited are cut off",
    }
    return "\n".join([line, *([borders[restored.border]] if restored.border else [])])
