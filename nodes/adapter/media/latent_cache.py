"""Latents that were encoded already, found again by the content of the pictures.

The host runs a node anew when any of its inputs changes. A source with another strength, or one more reference, has
the same pictures as before, and encoding those is what takes the time.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from weakref import WeakKeyDictionary

from torch import Tensor, nn

MAX_BYTES = 128 << 20
"""Latents of a clip of 5 s at 480p take 9 MB."""


class LatentCache:
    """The latents used last, for each VAE for as long as it lives.

    Args:
        max_bytes: Of latents kept for a VAE; the ones used longest ago go first.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._by_model: WeakKeyDictionary[nn.Module, OrderedDict[str, Tensor]] = WeakKeyDictionary()

    def get(self, model: nn.Module, key: str) -> Tensor | None:
        """Latents of a content, if they are there.

        Args:
            model: The module of the VAE.
            key: See `content_key`.
        """
        kept = self._by_model.get(model)
        if kept is None or key not in kept:
            return None
        kept.move_to_end(key)
        return kept[key]

    def put(self, model: nn.Module, key: str, latents: Tensor) -> None:
        """Keep latents, which nobody may change afterwards.

        Args:
            model: The module of the VAE.
            key: See `content_key`.
            latents: What it made.
        """
        kept = self._by_model.setdefault(model, OrderedDict())
        kept[key] = latents
        while len(kept) > 1 and sum(one.nbytes for one in kept.values()) > self._max_bytes:
            kept.popitem(last=False)

    def clear(self) -> None:
        """Forget all."""
        self._by_model.clear()


def content_key(frames: Tensor) -> str:
    """A key that only equal pictures share.

    Args:
        frames: On the CPU.
    """
    digest = hashlib.blake2b(f"{tuple(frames.shape)} {frames.dtype}".encode(), digest_size=24)
    digest.update(frames.contiguous().numpy().data)
    return digest.hexdigest()
