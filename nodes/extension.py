"""What the host gets when it asks for the nodes: all of them, or on a host that is too old, one that says so."""

from __future__ import annotations

import logging
import traceback
from functools import partial

from comfy_api.latest import ComfyExtension, io
from typing_extensions import override

from .adapter.demo_media import provide_demo_media
from .adapter.host import is_supported
from .outdated import stand_ins, too_old, unfit


class LoomVideoExtension(ComfyExtension):
    """The nodes of this pack."""

    @override
    async def on_load(self) -> None:
        """Put the bundled workflows' pictures where they look for them."""
        provide_demo_media()
        if is_supported():
            provide_preflight()
            provide_media()

    @override
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """All nodes; where they cannot be had, stand-ins that say why."""
        if not is_supported():
            reason = too_old()
            logging.error("LoomVideo: %s", reason)
            return stand_ins(reason)
        try:
            from .catalogue import NODES
        except Exception as error:
            # the host would log one line and drop the pack without a trace of why
            reason = unfit(error)
            logging.error("LoomVideo: %s\n%s", reason, traceback.format_exc())
            return stand_ins(reason)
        return list(NODES)


def provide_preflight() -> None:
    """Add the address at which the browser asks what a prompt would run into; the nodes do not depend on it."""
    try:
        from .adapter.preflight import ComfyHost
        from .adapter.routes import add_preflight
        from .preflight.answer import answer

        add_preflight(partial(answer, host=ComfyHost()))
    except Exception:
        logging.warning("LoomVideo: there is no pre-flight\n%s", traceback.format_exc())


def provide_media() -> None:
    """Add the address at which the browser asks what a clip holds; the nodes do not depend on it."""
    try:
        from .adapter.media.facts import media_facts
        from .adapter.routes import add_media

        add_media(media_facts)
    except Exception:
        logging.warning("LoomVideo: the timeline will not know rates of files\n%s", traceback.format_exc())


def make_extension() -> LoomVideoExtension:
    """The extension."""
    return LoomVideoExtension()
