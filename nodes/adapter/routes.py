"""Addresses that the pack adds to the host's server."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from aiohttp import web
from server import PromptServer

from ...loom_core.errors import LoomError

PREFLIGHT = "/loomvideo/preflight"
"""POST {"prompt": ..., "report": bool}; the host offers it below /api as well."""
MEDIA = "/loomvideo/media"
"""GET ?filename=...&subfolder=...&type=...; what a file in the host's folders holds, which a browser cannot tell."""


class Answer(Protocol):
    """What a prompt would run into."""

    def __call__(self, prompt: Any, *, with_report: bool) -> Mapping[str, Any]:
        """The findings, and with a report their text; see docs/preflight.md."""


def add_preflight(answer: Answer) -> None:
    """Have the host's server answer what a prompt would run into; without a server, as in tests, nothing happens.

    Args:
        answer: Takes the prompt; reads headers of files, so it is run beside the server's own work.
    """
    server = getattr(PromptServer, "instance", None)
    if server is None:
        return

    @server.routes.post(PREFLIGHT)
    async def preflight(request: web.Request) -> web.Response:
        try:
            content = await request.json()
        except ValueError:
            content = None
        asked = content if isinstance(content, dict) else {}
        with_report = asked.get("report") is True
        try:
            return web.json_response(await asyncio.to_thread(answer, asked.get("prompt"), with_report=with_report))
        except LoomError as error:
            return web.json_response({"error": str(error)}, status=400)
        except Exception as error:
            # a check that fails must not keep anybody from queueing; the log has what is needed to mend it
            logging.error("LoomVideo: the pre-flight failed\n%s", traceback.format_exc())
            return web.json_response({"error": f"{type(error).__name__}: the log has the details"}, status=500)


def add_media(look: Callable[[str, str, str], Mapping[str, Any]]) -> None:
    """Have the host's server say what a picture or clip in its folders holds; it only reads.

    Args:
        look: Takes file name, folder within, and which of the host's folders; run beside the server's own work.
    """
    server = getattr(PromptServer, "instance", None)
    if server is None:
        return

    @server.routes.get(MEDIA)
    async def media(request: web.Request) -> web.Response:
        name, subfolder, kind = (request.query.get(key, "") for key in ("filename", "subfolder", "type"))
        try:
            return web.json_response(await asyncio.to_thread(look, name, subfolder, kind or "input"))
        except FileNotFoundError as error:
            return web.json_response({"error": str(error)}, status=404)
        except LoomError as error:
            return web.json_response({"error": str(error)}, status=400)
