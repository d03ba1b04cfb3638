"""Several processes that are a group, as torchrun would start them, forked from the test's own process."""

from __future__ import annotations

import io
import multiprocessing
import os
import socket
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from loom_core.distributed.group import joined
from loom_core.distributed.launch import find_launch


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def environment_of(rank: int, size: int, port: int) -> dict[str, str]:
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def _bytes_of(value: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def _run(function: Callable[..., Any], rank: int, size: int, port: int, arguments: tuple[Any, ...], there: Any) -> None:
    os.environ.update(environment_of(rank, size, port))
    torch.set_num_threads(1)
    try:
        with joined(find_launch(), torch.device("cpu")) as ranks:
            result = function(ranks, *arguments)
        there.send_bytes(_bytes_of((True, result)))
    except BaseException as error:
        there.send_bytes(_bytes_of((False, (type(error).__name__, str(error), traceback.format_exc()))))


@contextmanager
def started(function: Callable[..., Any], *arguments: Any, size: int = 2) -> Iterator[list[tuple[Any, Any]]]:
    """Within, the processes and the ends of their pipes; afterwards none of them is left."""
    context, port = multiprocessing.get_context("fork"), free_port()
    running = []
    try:
        for rank in range(size):
            here, there = context.Pipe()
            process = context.Process(target=_run, args=(function, rank, size, port, arguments, there), daemon=True)
            process.start()
            there.close()
            running.append((process, here))
        yield running
    finally:
        for process, _ in running:
            if process.is_alive():
                process.kill()
            process.join()


def outcome(here: Any, seconds: float = 240.0) -> tuple[bool, Any]:
    """(True, result), or (False, (kind, words, traceback)) of one of them."""
    deadline = time.monotonic() + seconds
    while not here.poll(0.2):
        if time.monotonic() > deadline:
            return False, ("TimeoutError", "no answer", "")
    try:
        return torch.load(io.BytesIO(here.recv_bytes()), weights_only=False)
    except EOFError:
        return False, ("EOFError", "ended without a word", "")


def in_ranks(function: Callable[..., Any], *arguments: Any, size: int = 2) -> list[Any]:
    """What `function(ranks, *arguments)` returns in each of them; the first error of any of them otherwise."""
    with started(function, *arguments, size=size) as running:
        outcomes = [outcome(here) for _, here in running]
    for rank, (is_well, result) in enumerate(outcomes):
        assert is_well, f"rank {rank}: {result[2] or result}"
    return [result for _, result in outcomes]
