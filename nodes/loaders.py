"""Loaders of the three parts: model, encoder and VAE; each offers the built-in one beside the files that are there."""

from __future__ import annotations

from comfy_api.latest import io

from .adapter.files import offered
from .adapter.vae import FOLDER as VAE_FOLDER
from .adapter.vae import load_vae

CATEGORY = "LoomVideo/loaders"


class LoomVideoVAELoader(io.ComfyNode):
    """VAE of 48 channels, from a file or the built-in one."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See `io.ComfyNode`."""
        return io.Schema(
            node_id="LoomVideoVAELoader",
            display_name="LoomVideo VAE Loader",
            category=CATEGORY,
            description="Loads the Wan 2.2 VAE, or the small one of the built-in model. "
            "Refuses a VAE whose latents LoomVideo does not know, such as that of Wan 2.1.",
            search_aliases=["load vae", "vae loader", "wan 2.2 vae", "codec"],
            inputs=[
                io.Combo.Input(
                    "vae_name",
                    options=offered(VAE_FOLDER),
                    tooltip="wan2.2_vae.safetensors for the released weights, built-in: loom-tiny for the built-in "
                    "model. Files lie in models/vae.",
                )
            ],
            outputs=[io.Vae.Output("VAE", tooltip="Works with all of ComfyUI's VAE nodes.")],
        )

    @classmethod
    def execute(cls, vae_name: str) -> io.NodeOutput:
        """See `io.ComfyNode`."""
        return io.NodeOutput(load_vae(vae_name))
