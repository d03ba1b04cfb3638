"""Packs made ready by a second thread while the model trains on the one before.

On a CPU the model keeps one core busy with small operations; encoding and the MLLM then run on another.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from ..data.packing import Pack
from ..data.sample import EncodedSample

_LOOK = 0.2  # seconds between looks at whether anybody still wants packs
_SWITCH = 0.0003
"""Seconds that a thread may keep the interpreter while another wants it. Python's own 0.005 is longer than most
operations of a small model: with it, 60 steps of loom-tiny took 49 s instead of 41."""


class Packs(Protocol):
    """An iterator of packs that can be closed: a generator, a `PackStream`."""

    def __next__(self) -> Pack:
        """The next pack."""
        ...

    def close(self) -> None:
        """Let go of what makes them."""
        ...


class ReadAhead:
    """The packs of an iterator, in order, some of them ahead of being asked for.

    Where the data stands is written in each pack, so a run that is resumed knows nothing of packs that were read but
    not trained on.

    Args:
        packs: Where they come from; from now on asked by the second thread alone.
        prepare: Called there with each pack's samples.
        depth: Packs that wait.
    """

    def __init__(self, packs: Packs, *, prepare: Callable[[Sequence[EncodedSample]], None], depth: int = 1) -> None:
        self._packs, self._prepare = packs, prepare
        self._ready: queue.Queue[Pack | BaseException] = queue.Queue(depth)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._switch = sys.getswitchinterval()

    def __iter__(self) -> Iterator[Pack]:
        return self

    def __next__(self) -> Pack:
        """The next pack; what its making raised is raised here, now and at every later call."""
        if self._thread is None:
            sys.setswitchinterval(_SWITCH)
            self._thread = threading.Thread(target=self._run, name="read ahead", daemon=True)
            self._thread.start()
        item = self._ready.get()
        if isinstance(item, BaseException):
            self._ready.put(item)  # there is room: the thread ended with it
            raise item
        return item

    def close(self) -> None:
        """Make no more packs and let go of their source; waits for the one that is being made."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            sys.setswitchinterval(self._switch)
        self._packs.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            item = self._next()
            while not self._stop.is_set():
                try:
                    self._ready.put(item, timeout=_LOOK)
                    break
                except queue.Full:
                    continue
            if isinstance(item, BaseException):
                return

    def _next(self) -> Pack | BaseException:
        try:
            pack = next(self._packs)
            self._prepare(pack.samples)
        except BaseException as error:
            return error
        return pack
