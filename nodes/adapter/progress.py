"""What a running node shows: a bar, a line of text, and what the panel of a run is told; nothing without a server."""

from __future__ import annotations

import sys
import time
from typing import Any

from comfy import model_management
from comfy.utils import ProgressBar
from comfy_execution.utils import get_executing_context

from .run_state import RunState

RUN_EVENT = "loomvideo.progress"
SECONDS_BETWEEN_TEXTS = 0.25


def as_clock(seconds: float) -> str:
    """A length of time as a clock shows it: 0:07, 12:05, 1:02:09.

    Args:
        seconds: At least 0.
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class NodeProgress:
    """Progress of one node.

    Args:
        node_id: The host's id of the node; None takes the node that is being executed.
    """

    def __init__(self, node_id: str | None = None) -> None:
        context = get_executing_context()
        self._node_id = node_id if node_id is not None or context is None else context.node_id
        self._prompt_id = None if context is None else context.prompt_id
        self._bar: ProgressBar | None = None
        self._last_text = -SECONDS_BETWEEN_TEXTS

    def text(self, text: str, *, is_frequent: bool = False) -> None:
        """Show a line of text on the node.

        Args:
            text: The line; it replaces the one before.
            is_frequent: Of a loop: left out when the line before is younger than a quarter of a second.
        """
        now = time.monotonic()
        if is_frequent and now - self._last_text < SECONDS_BETWEEN_TEXTS:
            return
        self._last_text = now
        _send_text(text, self._node_id)

    def report(self, state: RunState) -> None:
        """Tell the browser that runs the prompt how far this node is.

        Args:
            state: How far; sent with the ids of node and prompt.
        """
        server = _server()
        client = getattr(server, "client_id", None)
        # for nobody it would go to everybody
        if self._node_id is None or client is None or not hasattr(server, "send_sync"):
            return
        message = {"node": self._node_id, "prompt_id": self._prompt_id, **state.message()}
        server.send_sync(RUN_EVENT, message, client)

    def step(self, done: int, total: int, *, picture: Any = None) -> None:
        """Move the bar, or stop here if the user has cancelled the prompt.

        Args:
            done: Parts done, 0 to `total`.
            total: Parts in all, at least 1.
            picture: Of Pillow; shown on the node in place of the one before.

        Raises:
            InterruptProcessingException: The host's own, which must be let through.
        """
        model_management.throw_exception_if_processing_interrupted()
        if self._bar is None:
            self._bar = ProgressBar(total, node_id=self._node_id)
        self._bar.update_absolute(done, total, None if picture is None else ("JPEG", picture, None))


def _send_text(text: str, node_id: str | None) -> None:
    """Send a line to the client that runs the prompt, if there is one and this host can."""
    server = _server()
    if node_id is None or not hasattr(server, "send_progress_text"):
        return
    # Vue nodes read it as markdown, where two blanks make an end of line an end of line
    server.send_progress_text(text.replace("\n", "  \n"), node_id, server.client_id)


def _server() -> Any:
    """The running server, or None."""
    # looked up, not imported: where no server runs, importing it would drag in the whole web server
    return getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)


class StepClock:
    """Estimates how long the remaining steps take.

    The first step also loads, compiles and warms up; once there are others it is not counted.

    Args:
        num_steps: Steps in all, at least 1.
    """

    def __init__(self, num_steps: int) -> None:
        self._num_steps = num_steps
        self._start = time.monotonic()
        self._after_first: float | None = None

    def remaining_seconds(self, done: int) -> float:
        """Estimate for the rest; call it once after each step.

        Args:
            done: Steps done, 1 to `num_steps`.
        """
        now = time.monotonic()
        left = self._num_steps - done
        if self._after_first is None or done <= 1:
            self._after_first = now
            return (now - self._start) / done * left
        return (now - self._after_first) / (done - 1) * left
