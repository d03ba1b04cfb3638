"""What the host gets when it asks for the nodes: all of them, or on a host that is too old, one that says so."""

from __future__ import annotations

import logging
import traceback

from comfy_api.latest import ComfyExtension, io
from typing_extensions import override

from .adapter.demo_media import provide_demo_media
from .adapter.host import is_supported


class LoomVideoExtension(ComfyExtension):
    """The nodes of this pack."""

    @override
    async def on_load(self) -> None:
        """Put the bundled workflows' pictures where they look for them."""
        provide_demo_media()

    @override
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """All nodes; on a host that is too old, stand-ins that say so."""
        if not is_supported():
            from .outdated import NODES as STAND_INS
            from .outdated import too_old

            logging.error("LoomVideo: %s", too_old())
            return list(STAND_INS)
        try:
            from .catalogue import NODES
        except Exception:
            # the host would log one line and drop the pack without a trace of why
            logging.error("LoomVideo cannot be loaded:\n%s", traceback.format_exc())
            raise
        return list(NODES)


def make_extension() -> LoomVideoExtension:
    """The extension."""
    return LoomVideoExtension()
