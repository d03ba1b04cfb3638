"""Stand-ins for all nodes on a host that is too old: they show up under their names and say what to do."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..loom_core.errors import LoomError
from .adapter.host import MINIMUM_VERSION, version

IDS = (
    "LoomVideoModelLoader",
    "LoomVideoEncoderLoader",
    "LoomVideoVAELoader",
    "LoomVideoLoraLoader",
    "LoomVideoSizeHelper",
    "LoomVideoEmptyLatent",
    "LoomVideoReferenceSlots",
    "LoomVideoSourceLatentScaler",
    "LoomVideoDeepstackEncode",
    "LoomVideoSampler",
    "LoomVideoGuider",
    "LoomVideoUniPCSampler",
    "LoomVideoScheduler",
    "LoomVideoRestoreVideo",
)
"""Of every node of the pack; the catalogue itself may not import on an old host."""

MOST_OUTPUTS = 6


def too_old() -> LoomError:
    """The sentence for a user."""
    return LoomError(
        f"ComfyUI {version()}",
        expected=f"{MINIMUM_VERSION} or newer, since older ones read pictures wrongly",
        fix="update ComfyUI",
    )


def _stand_in(node_id: str) -> type[io.ComfyNode]:
    class StandIn(io.ComfyNode):
        """Says that the host is too old."""

        @classmethod
        def define_schema(cls) -> io.Schema:
            """See `io.ComfyNode`."""
            return io.Schema(
                node_id=node_id,
                display_name=f"{node_id} (needs ComfyUI {MINIMUM_VERSION})",
                category="LoomVideo",
                description=str(too_old()),
                inputs=[],
                outputs=[io.AnyType.Output(display_name=f"output {number}") for number in range(1, MOST_OUTPUTS + 1)],
                is_output_node=True,
            )

        @classmethod
        def execute(cls, **_: Any) -> io.NodeOutput:
            """Refuse."""
            raise too_old()

    StandIn.__name__ = StandIn.__qualname__ = node_id
    return StandIn


NODES: tuple[type[io.ComfyNode], ...] = tuple(map(_stand_in, IDS))
"""One stand-in a node."""
