"""The first samples of a set."""

from __future__ import annotations

import torch

from loom_core.data.sample import SampleFacts
from loom_core.data.shortened import ShortenedSource


class Described:
    name, fingerprint = "described", "f"

    def __len__(self):
        return 9

    def describe(self, index):
        return SampleFacts(f"own {index}", has_variants=False)

    def load(self, index, *, generator):
        raise AssertionError("facts need no decoding")


def test_the_first_few(memory_source):
    whole = memory_source(9)
    short = ShortenedSource(whole, 4)
    assert len(short) == 4
    assert short.name == whole.name
    assert short.load(3, generator=torch.Generator()).key == "memory/3"


def test_fingerprint_follows_the_count(memory_source):
    whole = memory_source(9)
    prints = {whole.fingerprint, ShortenedSource(whole, 4).fingerprint, ShortenedSource(whole, 5).fingerprint}
    assert len(prints) == 3


def test_facts_are_those_of_the_whole_set(memory_source):
    """So that a cache serves a sample whatever the count."""
    whole = memory_source(9)
    assert ShortenedSource(whole, 4).describe(2) == whole.describe(2)
    assert ShortenedSource(Described(), 4).describe(2) == SampleFacts("own 2", has_variants=False)
