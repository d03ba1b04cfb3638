"""What the MLLM read, kept by content: in memory up to a limit, and on disk where the user wants it.

The tensors that are kept are those of the CONDITIONING itself, so keeping one that the host still holds costs nothing.
"""

from __future__ import annotations

import hashlib
import logging
import os
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import folder_paths
import torch
from comfy import model_management
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ....loom_core.atomic import atomic_target
from ....loom_core.errors import LoomError
from ....loom_core.mllm.tokens import TokenizedPrompt

FORMAT = "1"
"""Part of every key: another number and nothing kept before is found."""
MOST_MEMORY = 2 << 30
SHARE_OF_MEMORY = 0.1
MOST_DISK = 4 << 30
SUFFIX = ".safetensors"
_STATES, _CHECKSUM = "states", "crc32"


def prompt_key(prompt: TokenizedPrompt, *, encoder: str, num_blocks: int) -> str:
    """The name of what an encoder reads in a prompt.

    Args:
        prompt: Ids and patches.
        encoder: What the encoder is known by.
        num_blocks: How many of its layers are kept.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.blake2b(f"{FORMAT} {encoder} {num_blocks}".encode(), digest_size=32)
    digest.update(_bytes(prompt.input_ids))
    for kind, pictures in (("still", prompt.images), ("clip", prompt.videos)):
        for picture in pictures:
            digest.update(f"{kind} {picture.grid}".encode())
            digest.update(_bytes(picture.pixels))
    return digest.hexdigest()


class StateCache:
    """States by key, the least recently used given up first.

    Args:
        most_memory: Bytes in memory; asked when something is added.
        folder: Where files go; asked when one is written or looked for.
        most_disk: Bytes on disk.
    """

    def __init__(self, *, most_memory: Callable[[], int], folder: Callable[[], Path], most_disk: int) -> None:
        self._most_memory, self._folder, self._most_disk = most_memory, folder, most_disk
        self._states: OrderedDict[str, Tensor] = OrderedDict()

    def __contains__(self, key: str) -> bool:
        """Whether something is in memory."""
        return key in self._states

    @property
    def num_bytes(self) -> int:
        """Bytes in memory."""
        return sum(states.nbytes for states in self._states.values())

    def get(self, key: str, *, on_disk: bool) -> Tensor | None:
        """States that were kept; not to be written to.

        Args:
            key: Of `prompt_key`.
            on_disk: Look there too, and put there what is in memory alone. A file that cannot be read is deleted, with
                a line in the log.
        """
        if key in self._states:
            self._states.move_to_end(key)
            if on_disk and not self._file(key).is_file():
                self._write(key, self._states[key])
            return self._states[key]
        states = self._read(key) if on_disk else None
        if states is not None:
            self.put(key, states, on_disk=False)
        return states

    def put(self, key: str, states: Tensor, *, on_disk: bool) -> None:
        """Keep states.

        Args:
            key: Of `prompt_key`.
            states: On the CPU.
            on_disk: There too. What cannot be written is a line in the log, since the run does not depend on it.
        """
        self._states[key] = states
        self._states.move_to_end(key)
        limit = self._most_memory()
        while len(self._states) > 1 and self.num_bytes > limit:
            self._states.popitem(last=False)
        if on_disk:
            self._write(key, states)

    def clear(self) -> None:
        """Let go of what is in memory."""
        self._states.clear()

    def _file(self, key: str) -> Path:
        return self._folder() / (key + SUFFIX)

    def _read(self, key: str) -> Tensor | None:
        path = self._file(key)
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                states = file.get_tensor(_STATES).clone()  # no view of a file that may be deleted
                is_whole = (file.metadata() or {}).get(_CHECKSUM) == _checksum(states)
        except (SafetensorError, OSError, ValueError) as error:
            logging.debug("LoomVideo: %s", error)
            is_whole = False
        if not is_whole:
            logging.warning("LoomVideo: a damaged file in the cache of prompts, read anew (%s)", path)
            _delete(path)
            return None
        with suppress(OSError):  # a folder that may only be read
            os.utime(path)  # the files used last are kept longest
        return states

    def _write(self, key: str, states: Tensor) -> None:
        path = self._file(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_target(path) as temporary:
                save_file({_STATES: states.contiguous()}, temporary, metadata={_CHECKSUM: _checksum(states)})
        except (LoomError, OSError, SafetensorError) as error:
            logging.warning("LoomVideo: what was read in the prompt is not kept on disk: %s", error)
            return
        total = 0
        for _, size, file in sorted(_sized(path.parent), reverse=True):
            total += size
            if total > self._most_disk and file != path:
                _delete(file)


def _sized(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """(time of last use, bytes, file) of each file in the cache."""
    for file in folder.glob("*" + SUFFIX):
        with suppress(OSError):  # another server with the same folder may have deleted it by now
            found = file.stat()
            yield found.st_mtime, found.st_size, file


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.contiguous().view(torch.uint8).numpy().data


def _checksum(states: Tensor) -> str:
    return f"{zlib.crc32(_bytes(states)):08x}"


def _delete(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        logging.warning("LoomVideo: cannot delete %s (%s)", path, error)


def _most_memory() -> int:
    return min(MOST_MEMORY, int(SHARE_OF_MEMORY * model_management.get_total_memory(torch.device("cpu"))))


def _folder() -> Path:
    return Path(folder_paths.get_system_user_directory("loomvideo")) / "prompts"


CACHE = StateCache(most_memory=_most_memory, folder=_folder, most_disk=MOST_DISK)
"""Of this process."""
