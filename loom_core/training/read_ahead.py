"""Packs made ready by a second process while the model trains on the one before.

On a CPU the model keeps one core busy with small operations; decoding, encoding and the MLLM then run on another. A
process and not a thread: with a thread the two wait for each other's turn with the interpreter most of the time.
"""

from __future__ import annotations

import io
import multiprocessing
import pickle
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any, Protocol

import torch
from torch import Tensor

from ..data.packing import Pack
from ..data.sample import EncodedSample
from ..errors import ConfigError, ResourceError
from ..types import Condition

_PATIENCE = 5.0  # seconds that the second process is given to end by itself
_PACK, _ERROR = "pack", "error"


def check_possible(device: torch.device) -> None:
    """Refuse to read ahead where it makes no sense.

    Raises:
        ConfigError: The MLLM and the codec are on a GPU, which a second process cannot take over, or the system cannot
            fork.
    """
    if device.type != "cpu" or "fork" not in multiprocessing.get_all_start_methods():
        raise ConfigError(
            f"read_ahead on {device.type}", expected="a CPU, and a system that forks", fix="--set read_ahead=0"
        )


class Packs(Protocol):
    """An iterator of packs that can be closed: a generator, a `PackStream`."""

    def __next__(self) -> Pack:
        """The next pack."""
        ...

    def close(self) -> None:
        """Let go of what makes them."""
        ...


Prepare = Callable[[Sequence[EncodedSample]], list[Condition]]
"""What the model is conditioned on for each sample of a pack."""


class ReadAhead:
    """The packs of an iterator, in order, some of them ahead of being asked for.

    Where the data stands is written in each pack, so a run that is resumed knows nothing of packs that were read but
    not trained on. Samples come without the pictures that the MLLM has read.

    Args:
        packs: Where they come from; asked by the second process alone, which has its own copy of everything.
        prepare: Called there with each pack's samples.
        accept: Called here with each pack's samples and what was prepared for them.
        depth: Packs that wait.
    """

    def __init__(
        self,
        packs: Packs,
        *,
        prepare: Prepare,
        accept: Callable[[Sequence[EncodedSample], list[Condition]], None],
        depth: int = 1,
    ) -> None:
        self._packs, self._prepare, self._accept, self._depth = packs, prepare, accept, depth
        self._process: Any = None
        self._connection: Connection | None = None
        self._failure: BaseException | None = None

    def __iter__(self) -> Iterator[Pack]:
        return self

    def __next__(self) -> Pack:
        """The next pack.

        Raises:
            ResourceError: The second process was ended from outside.
            BaseException: What the making of the pack raised, here, now and at every later call.
        """
        if self._failure is not None:
            raise self._failure
        if self._process is None:
            self._start()
        assert self._connection is not None
        try:
            self._connection.send(None)  # one more may be made
            kind, content = pickle.loads(self._connection.recv_bytes())
        except (EOFError, OSError) as error:
            self._failure = ResourceError(
                "a process that reads ahead and was ended from outside", expected="memory for it", fix="read_ahead: 0"
            )
            raise self._failure from error
        if kind == _ERROR:
            self._failure = rebuilt(*content)
            raise self._failure
        pack, prepared = content
        self._accept(pack.samples, prepared)
        return pack

    def close(self) -> None:
        """Make no more packs and let go of their source."""
        if self._connection is not None:
            self._connection.close()  # which the second process notices at its next look
        if self._process is not None:
            self._process.join(_PATIENCE)
            if self._process.is_alive():
                self._process.kill()
                self._process.join()
        self._packs.close()

    def _start(self) -> None:
        here, there = multiprocessing.Pipe()
        context = multiprocessing.get_context("fork")
        self._process = context.Process(target=_run, args=(self._packs, self._prepare, here, there, self._depth))
        self._process.start()
        there.close()
        self._connection = here


def _run(packs: Packs, prepare: Prepare, here: Connection, there: Connection, depth: int) -> None:
    """The second process: makes packs as long as they are wanted; ends when nobody is at the other end."""
    here.close()
    for number in (signal.SIGINT, signal.SIGTERM):  # the first process decides when it is over
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)
    wanted = threading.Semaphore(depth)  # packs that may be made before they are asked for

    def listen() -> None:
        try:
            while True:
                there.recv()
                wanted.release()
        except (EOFError, OSError):
            gone.set()
            wanted.release()

    gone = threading.Event()
    threading.Thread(target=listen, daemon=True).start()
    try:
        while wanted.acquire() and not gone.is_set():
            kind, content = _made(packs, prepare)
            there.send_bytes(packed((kind, content)))
            if kind == _ERROR:
                break
    except OSError:
        pass  # nobody reads any more
    finally:
        packs.close()


def _made(packs: Packs, prepare: Prepare) -> tuple[str, Any]:
    try:
        pack = next(packs)
        prepared = prepare(pack.samples)
        bare = tuple(replace(sample, mllm_source=None, mllm_references=()) for sample in pack.samples)
    except BaseException as error:
        return _ERROR, (type(error), error.args, error.__dict__)
    return _PACK, (replace(pack, samples=bare), prepared)


class _Pickler(pickle.Pickler):
    """Writes tensors by value, as plain bytes: torch's own ways take a file, or an archive, for each."""

    def reducer_override(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return NotImplemented
        plain = value.detach().contiguous().view(-1).view(torch.uint8).numpy()
        return _tensor, (plain, value.dtype, tuple(value.shape))


def _tensor(plain: Any, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(plain).view(dtype).view(shape)


def packed(value: object) -> bytes:
    """Anything with tensors in it as bytes that `pickle.loads` reads."""
    file = io.BytesIO()
    _Pickler(file, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
    return file.getvalue()


def rebuilt(kind: type[BaseException], arguments: tuple[Any, ...], attributes: dict[str, Any]) -> BaseException:
    """An error of another process: its class may want other arguments than it keeps."""
    error = kind.__new__(kind, *arguments)
    error.args = arguments
    error.__dict__.update(attributes)
    return error
