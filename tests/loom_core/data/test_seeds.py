"""Seeds from names and numbers."""

from __future__ import annotations

import torch

from loom_core.data.seeds import derive_seed, seeded_generator


def test_other_parts_other_seeds():
    parts = [("a", 1), ("a", 2), ("b", 1), ("a", "1"), ("a1",), ("a", 1, 0), (1, "a"), ("a\0", 1), ()]
    seeds = [derive_seed(*part) for part in parts]
    assert len(set(seeds)) == len(parts)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_seeds_stay_what_they_are():
    """A saved position means nothing to a version that derives others."""
    assert derive_seed(0, "sample", 7) == 4884147417307417622


def test_generators_repeat():
    first, again = (torch.rand(4, generator=seeded_generator("x", 3)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, torch.rand(4, generator=seeded_generator("x", 4)))
