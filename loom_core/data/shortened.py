"""The first samples of a set."""

from __future__ import annotations

import torch

from .sample import Sample, SampleFacts, SampleSource


class ShortenedSource:
    """The first `count` samples of another source.

    Args:
        source: Which.
        count: 1 to its length.
    """

    def __init__(self, source: SampleSource, count: int) -> None:
        self.name = source.name
        self.fingerprint = f"{source.fingerprint} first {count}"
        self._source, self._count = source, count

    def __len__(self) -> int:
        """Number of samples."""
        return self._count

    def describe(self, index: int) -> SampleFacts:
        """Facts about a sample: those of the whole set, so that a cache serves it whatever the count."""
        return self._source.describe(index)

    def load(self, index: int, *, generator: torch.Generator) -> Sample:
        """Decode a sample, see `sample.SampleSource`."""
        return self._source.load(index, generator=generator)
