"""LoRAs of every naming."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from .adapter.files import path_of
from .adapter.model.lora import FOLDER, apply_lora, offered_loras
from .adapter.progress import NodeProgress
from .loaders import CATEGORY

LARGEST_STRENGTH = 100.0


class LoomVideoLoraLoader(io.ComfyNode):
    """A LoRA on a LoomVideo model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See `io.ComfyNode`."""
        return io.Schema(
            node_id="LoomVideoLoraLoader",
            display_name="LoomVideo LoRA Loader",
            category=CATEGORY,
            description="Puts a LoRA on a LoomVideo model, made for LoomVideo or for Wan 2.2 TI2V-5B, by whichever "
            "trainer. Says what of the file counts, and refuses one that changes nothing or is of another width, where "
            "ComfyUI's own loader would go on without a word on the node.",
            search_aliases=["load lora", "lora loader", "lycoris", "wan lora", "turbo lora"],
            inputs=[
                io.Model.Input("model", tooltip="From LoomVideo Model Loader, or another LoRA loader."),
                io.Combo.Input("lora_name", options=offered_loras(), tooltip="Files lie in models/loras."),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=-LARGEST_STRENGTH,
                    max=LARGEST_STRENGTH,
                    step=0.01,
                    tooltip="Factor of its changes. 0 leaves the model as it is; below 0 it is turned around.",
                ),
            ],
            outputs=[io.Model.Output("MODEL", tooltip="The model with the LoRA; what came in stays as it was.")],
        )

    @classmethod
    def execute(cls, model: Any, lora_name: str, strength: float) -> io.NodeOutput:
        """See `io.ComfyNode`."""
        result = apply_lora(model, path_of(lora_name, [FOLDER]), strength)
        NodeProgress().text(result.about)
        return io.NodeOutput(result.model)
