"""Which encoder a CLIP is, so that what it read once can be told from what another would read.

A file counts by its contents, a CLIP without a file by the object. Patches of its weights (a LoRA) count by the mark
that the host gives them. What cannot be compared, such as hooks, makes a CLIP unlike any other.
"""

from __future__ import annotations

import hashlib
import uuid
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from .qwen import Qwen

NUM_SAMPLES = 256
SAMPLE_BYTES = 4096
_HOSTS_OWN_PATCHES = frozenset({"manual_cast_dtype"})
"""Object patches that the host gives to every text encoder."""

_known: weakref.WeakKeyDictionary[Any, Identity] = weakref.WeakKeyDictionary()
"""Model -> what it is known by unpatched; asked once, since its file may be replaced while it is loaded."""


@dataclass(frozen=True)
class Identity:
    """What an encoder is known by.

    Args:
        text: Equal for encoders that read alike.
        outlives_process: Whether it means the same in another run of the host.
    """

    text: str
    outlives_process: bool


def identity_of(qwen: Qwen) -> Identity | None:
    """What an encoder is known by; None if it cannot be compared with any other.

    Args:
        qwen: The parts of a CLIP.
    """
    patcher = qwen.patcher
    others = set(patcher.object_patches) - _HOSTS_OWN_PATCHES
    if others or patcher.injections or patcher.forced_hooks is not None:
        return None
    if qwen.whole not in _known:
        _known[qwen.whole] = _unpatched(qwen)
    identity = _known[qwen.whole]
    if patcher.patches or patcher.weight_wrapper_patches:
        return Identity(f"{identity.text} patched {patcher.patches_uuid}", outlives_process=False)
    return identity


def _unpatched(qwen: Qwen) -> Identity:
    """By the contents of its files and the precision they were loaded in, or by a mark of its own."""
    made_by = qwen.patcher.cached_patcher_init
    hashes = [sampled_hash(path) for path in files_of(made_by[1])] if made_by else []
    if not hashes:
        return Identity(uuid.uuid4().hex, outlives_process=False)
    precision = " ".join(sorted(map(str, getattr(qwen.whole, "dtypes", ()))))
    text = " ".join((qwen.key, precision, qwen.pairing.rope_precision, *hashes))
    return Identity(text, outlives_process=True)


def files_of(value: Any) -> Iterator[Path]:
    """Files that the host's loader was given, in its order.

    Args:
        value: What it was called with: paths among other things, in tuples and lists.
    """
    if isinstance(value, list | tuple):
        for one in value:
            yield from files_of(one)
    elif isinstance(value, str | Path) and (path := Path(value)).is_file():
        yield path


def sampled_hash(path: Path) -> str:
    """A hash of a file's length and of pieces from all over it; remembered until the file changes."""
    stat = path.stat()
    return _sampled_hash(str(path), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=32)
def _sampled_hash(path: str, size: int, _changed: int) -> str:
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    with Path(path).open("rb") as file:
        for number in range(NUM_SAMPLES):
            file.seek(max(0, size - SAMPLE_BYTES) * number // (NUM_SAMPLES - 1))
            digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()
