"""The first samples of a set."""

from __future__ import annotations

import torch

from .sample import DescribingSource, Sample, SampleFacts, SampleSource


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
        """Facts about a sample, see `sample.DescribingSource`."""
        if isinstance(self._source, DescribingSource):
            return self._source.describe(index)
        return SampleFacts.of_set(self._source, index)

    def load(self, index: int, *, generator: torch.Generator) -> Sample:
        """Decode a sample, see `sample.SampleSource`."""
        return self._source.load(index, generator=generator)
