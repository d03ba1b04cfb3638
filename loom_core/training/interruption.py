"""Stopping a run between two steps: a signal asks, the trainer finishes its step, saves and ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

IsStopped = Callable[[], bool]
"""Whether a stop was asked for, for what takes long and can be given up."""


def never_stopped() -> bool:
    """The answer where nobody can ask for a stop."""
    return False


class StopRequest:
    """Within, the first SIGINT or SIGTERM is only noted; a second SIGINT interrupts at once.

    Outside the main thread, where Python hands out no signals, it notes none.

    Args:
        is_stopped: Another who may ask.
    """

    def __init__(self, is_stopped: IsStopped = never_stopped) -> None:
        self._is_stopped = is_stopped
        self.signal: signal.Signals | None = None
        self._before: dict[signal.Signals, object] = {}

    def is_asked(self) -> bool:
        """Whether a signal came, or somebody else asks."""
        return self.signal is not None or self._is_stopped()

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)
