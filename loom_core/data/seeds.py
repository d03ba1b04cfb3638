"""Seeds that follow from names and numbers, so that nothing depends on what was drawn before."""

from __future__ import annotations

import hashlib

import torch

_BYTES = 8
_BITS = 63  # what torch takes for certain


def derive_seed(*parts: str | int) -> int:
    """A seed from 0 to 2^63 - 1 that differs for other parts, whichever they are.

    Args:
        parts: What the seed belongs to, such as a run's seed, a purpose and a position.
    """
    text = "\0".join(f"{type(part).__name__}:{part}" for part in parts)
    digest = hashlib.blake2b(text.encode(), digest_size=_BYTES).digest()
    return int.from_bytes(digest, "little") & ((1 << _BITS) - 1)


def seeded_generator(*parts: str | int) -> torch.Generator:
    """A generator on the CPU, seeded by `derive_seed`."""
    return torch.Generator().manual_seed(derive_seed(*parts))
