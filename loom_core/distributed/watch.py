"""Noticing that another process of a run is gone, when this one may be waiting for it in a call that never returns.

Every rank writes a number that grows to a store that all can read, from a thread of its own, and reads those of the
others. A rank whose number stands still for half a minute is gone: its process was killed, its machine is off. A rank
that ends by itself leaves its last words there instead.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ..errors import RankError

BEAT = 2.0
PATIENCE = 30.0
GRACE = 10.0
_DONE, _ENDED = "done", "ended: "
_MISSED = 4


class Watch:
    """Sign of life of this rank, and eyes on the others.

    Args:
        store: Where all leave their signs; has `set` and `multi_get`, with a connection that nobody else waits on.
        rank: This one.
        size: How many there are.
        end: Ends the process with a sentence, once a rank is gone and the grace is over.
        beat: Seconds between two signs.
        patience: Seconds without a sign after which a rank is gone.
        grace: Seconds that the main thread is then given to notice by itself.
    """

    def __init__(
        self,
        store: Any,
        *,
        rank: int,
        size: int,
        end: Callable[[str], None] | None = None,
        beat: float = BEAT,
        patience: float = PATIENCE,
        grace: float = GRACE,
    ) -> None:
        self._store, self._rank = store, rank
        self._others = [other for other in range(size) if other != rank]
        self._end = end or end_process
        self._beat, self._patience, self._grace = beat, patience, grace
        self._closed, self._found = threading.Event(), threading.Event()
        self._lost: str | None = None
        self._last: dict[int, tuple[str, float]] = {}
        self._thread = threading.Thread(target=self._run, name="ranks", daemon=True)
        self._store.set(_key(rank), "0")

    def start(self) -> None:
        """Begin; every rank has made its watch by now."""
        self._last = {other: ("0", time.monotonic()) for other in self._others}
        self._thread.start()

    def lost_within(self, seconds: float | None = None) -> str:
        """What ended, for whoever could not reach the others.

        Args:
            seconds: To wait until it is known; by default as long as a few signs of life take.
        """
        if not self._found.wait(_MISSED * self._beat if seconds is None else seconds):
            late = time.monotonic() - (_MISSED - 1) * self._beat
            silent = [other for other, (_, when) in self._last.items() if when < late]
            return f"{_named(silent)} that gave no sign of life any more" if silent else "a rank that did not answer"
        assert self._lost is not None
        return self._lost

    def close(self, *, last_words: str | None = None) -> None:
        """Stop watching.

        Args:
            last_words: Why this rank ends before its work is done; None where it is done.
        """
        self._closed.set()
        self._thread.join(5 * self._beat)
        with suppress(RuntimeError):  # where all met may be gone, and with it who could read this
            self._store.set(_key(self._rank), _DONE if last_words is None else _ENDED + last_words)

    def _run(self) -> None:
        for number in itertools.count(1):
            if self._closed.wait(self._beat):
                return
            self._lost = self._look(number)
            if self._lost is not None:
                self._found.set()
                if not self._closed.wait(self._grace):
                    self._end(self._lost)
                return

    def _look(self, number: int) -> str | None:
        """Give a sign and read those of the others; what of them is gone."""
        try:
            self._store.set(_key(self._rank), str(number))
            signs = [sign.decode() for sign in self._store.multi_get([_key(other) for other in self._others])]
        except RuntimeError:
            return "the process at which all ranks met that does not answer any more"
        now = time.monotonic()
        for other, sign in zip(self._others, signs, strict=True):
            if sign.startswith(_ENDED):
                return f"rank {other} that ended: {sign.removeprefix(_ENDED)}"
            if sign == _DONE or sign != self._last[other][0]:
                self._last[other] = sign, now
        silent = [other for other, (_, when) in self._last.items() if now - when > self._patience]
        return f"{_named(silent)} without a sign of life for {self._patience:.0f} s" if silent else None


def end_process(lost: str) -> None:
    """Say what is gone and end this process at once: its main thread waits for what will never come."""
    error = RankError(lost, expected="all ranks to go on", fix="look at what it said last; give the same command again")
    sys.stderr.write(f"error: {error}\n")
    sys.stderr.flush()
    os._exit(RankError.exit_code)


def _key(rank: int) -> str:
    return f"sign/{rank}"


def _named(ranks: list[int]) -> str:
    return ("rank " if len(ranks) == 1 else "ranks ") + ", ".join(map(str, ranks))
