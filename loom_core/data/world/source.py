"""The world as a set of training samples."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from ...config.reading import build
from ...errors import ConfigError
from ..sample import Sample, SampleFacts
from .samples import WorldSettings, make_sample

WORLD_VERSION = 4
"""Raised whenever the same settings make other samples; part of the fingerprint, so that no cache serves old ones."""
ONE_FRAME_VERSION = 5
"""Of worlds that may have clips of one frame, which changed while all others stayed as they were."""

DEFAULT_COUNT = 100_000
"""Samples of a world that does not say how many; they are made on demand, so that a large number costs nothing."""


class WorldSource:
    """Samples 0 to `count` of a world, made when they are asked for; see `data.sample.SampleSource`.

    Args:
        settings: Of the world.
        count: Number of samples, at least 1.
        name: In messages and metrics.

    Raises:
        ConfigError: There are no samples.
    """

    def __init__(self, settings: WorldSettings, *, count: int = DEFAULT_COUNT, name: str = "world") -> None:
        if count < 1:
            raise ConfigError(f"a world of {count} samples", expected="at least 1", fix="correct `count`")
        self.settings = settings
        self.name = name
        self._count = count
        # The count is left out: more samples leave those that were there as they are.
        described = json.dumps([version_of(settings), asdict(settings)], sort_keys=True)
        self.fingerprint = "world-" + hashlib.sha256(described.encode()).hexdigest()[:16]

    def __len__(self) -> int:
        """Number of samples."""
        return self._count

    def load(self, index: int, *, generator: torch.Generator) -> Sample:
        """Make sample `index`; the same at every call.

        Args:
            index: 0 to the number of samples.
            generator: Not used: a clip of the world is never cut.
        """
        del generator
        self._check(index)
        return make_sample(index, self.settings).sample

    def describe(self, index: int) -> SampleFacts:
        """Facts about a sample: it is never cut, so that a cache of latents keeps it once.

        Args:
            index: 0 to the number of samples.
        """
        self._check(index)
        return SampleFacts(f"{self.fingerprint} {index}", has_variants=False)

    def _check(self, index: int) -> None:
        if not 0 <= index < self._count:
            raise IndexError(f"sample {index} of {self._count}")


def version_of(settings: WorldSettings) -> int:
    """Of the samples that settings make."""
    return ONE_FRAME_VERSION if 1 in settings.frames else WORLD_VERSION


def world_source(options: Mapping[str, Any], *, name: str = "world") -> WorldSource:
    """A world from plain values, as a config file has them.

    Args:
        options: `count`, and any field of `WorldSettings`.
        name: In messages and metrics.

    Raises:
        ConfigError: A name is unknown, or a value is of the wrong type or out of range.
    """
    settings = {key: value for key, value in options.items() if key != "count"}
    count = options.get("count", DEFAULT_COUNT)
    if isinstance(count, bool) or not isinstance(count, int):
        raise ConfigError(f"count {count!r} of {name}", expected="a whole number", fix="correct it")
    return WorldSource(build(WorldSettings, settings, where=name), count=count, name=name)
