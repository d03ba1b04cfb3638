"""Stand-ins for all nodes where they cannot be had: they show up under their names and say why, and what to do."""

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
    "LoomVideoMemoryPlan",
    "LoomVideoDatasetPrepare",
    "LoomVideoLoraTrain",
    "LoomVideoLoraSave",
)
"""Of every node of the pack; the catalogue itself may not import on an old host."""

MOST_OUTPUTS = 6


def too_old() -> LoomError:
    """The sentence of a host that is too old."""
    return LoomError(
        f"ComfyUI {version()}",
        expected=f"{MINIMUM_VERSION} or newer, since older ones read pictures wrongly",
        fix="update ComfyUI",
    )


def unfit(error: Exception) -> LoomError:
    """The sentence of a host whose own modules are not what the nodes are built on."""
    return LoomError(
        f"ComfyUI {version()}, in which the nodes cannot be loaded ({type(error).__name__}: {error})",
        expected=f"a ComfyUI from {MINIMUM_VERSION} on that this version of LoomVideo knows",
        fix="update LoomVideo and ComfyUI; the log has the details",
    )


def _stand_in(node_id: str, reason: LoomError) -> type[io.ComfyNode]:
    class StandIn(io.ComfyNode):
        """Says why the node is not there."""

        @classmethod
        def define_schema(cls) -> io.Schema:
            """See `io.ComfyNode`."""
            return io.Schema(
                node_id=node_id,
                display_name=f"LoomVideo {node_id.removeprefix('LoomVideo')} (not available)",
                category="LoomVideo",
                description=str(reason),
                inputs=[],
                outputs=[io.AnyType.Output(display_name=f"output {number}") for number in range(1, MOST_OUTPUTS + 1)],
                is_output_node=True,
            )

        @classmethod
        def execute(cls, **_: Any) -> io.NodeOutput:
            """Refuse."""
            raise reason

    StandIn.__name__ = StandIn.__qualname__ = node_id
    return StandIn


def stand_ins(reason: LoomError) -> list[type[io.ComfyNode]]:
    """One stand-in a node.

    Args:
        reason: What each of them says.
    """
    return [_stand_in(node_id, reason) for node_id in IDS]
