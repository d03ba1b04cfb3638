"""Held-out samples for validation: the same ones, cut alike and with the same noise, at every measurement."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..config.training import TrainingConfig
from ..data.encoding import encode_sample
from ..data.framing import Framing
from ..data.opening import DTYPES, open_source
from ..data.sample import EncodedSample, SampleError, SampleSource
from ..data.seeds import derive_seed, seeded_generator
from ..errors import MediaError
from ..protocols import VideoCodec

logger = logging.getLogger(__name__)

_PURPOSE = "validation"


def spread_indices(length: int, count: int) -> list[int]:
    """At most `count` indices, evenly spread over `length`."""
    count = min(length, count)
    return [index * length // count for index in range(count)]


def open_held_out(config: TrainingConfig) -> tuple[SampleSource, ...]:
    """The held-out sets of a run, none where it measures nothing; whatever is wrong with them shows before it trains.

    Raises:
        LoomError: A set is missing, empty or not what the config says; see `open_source`.
    """
    if not config.validation.is_on:
        return ()
    data = config.data
    return tuple(
        open_source(entry, Framing.of(data), max_bad_share=data.max_bad_share) for entry in config.validation.sets
    )


class HeldOutSamples:
    """The validation samples of a run, in order, encoded at first use and kept.

    Args:
        config: Of the run.
        sources: Its held-out sets, see `open_held_out`.
        codec: Makes latents.
    """

    def __init__(self, config: TrainingConfig, sources: Sequence[SampleSource], codec: VideoCodec) -> None:
        self.config, self.sources, self.codec = config, sources, codec
        self._samples: list[EncodedSample] | None = None

    def __iter__(self) -> Iterator[EncodedSample]:
        if self._samples is None:
            self._samples = list(self._encoded())
            if not self._samples:
                raise MediaError(
                    "no validation sample that can be used",
                    expected="at least one",
                    fix="correct validation.sets, or set validation.every to 0",
                )
        return iter(self._samples)

    def _encoded(self) -> Iterator[EncodedSample]:
        for source in self.sources:
            for index in spread_indices(len(source), self.config.validation.samples):
                try:
                    yield self._sample(source, index)
                except SampleError as error:
                    logger.warning("a validation sample was left out: %s", error)

    def _sample(self, source: SampleSource, index: int) -> EncodedSample:
        data, seed = self.config.data, self.config.validation.seed
        sample = source.load(index, generator=seeded_generator(seed, _PURPOSE, source.name, index))
        encoded = encode_sample(
            sample,
            self.codec,
            dtype=DTYPES[data.latent_dtype],
            source_to_mllm=data.source_to_mllm,
            source_to_dit=data.source_to_dit,
        )
        return replace(encoded, seed=derive_seed(seed, _PURPOSE, source.name, index))
