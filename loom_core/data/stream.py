"""The samples of one rank in the order of their positions: decoded ahead by workers, encoded or read from the cache.

Order does not depend on which worker is quick: it is that of the positions, without those whose sample cannot be used.
A sample that lies in the cache is not decoded at all.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from torch.utils.data import DataLoader, Dataset, Sampler

from ..errors import ConfigError
from .cache import LatentCache
from .encoding import Encode
from .mixture import Mixture, Place
from .problems import BadSampleGuard
from .sample import EncodedSample, Sample, SampleError, SampleSource
from .seeds import derive_seed, seeded_generator
from .workers import ended_worker

logger = logging.getLogger(__name__)

_STOPS = (signal.SIGINT, signal.SIGTERM)
_LOOK_AFTER_PARENT = 2.0  # seconds


@dataclass(frozen=True)
class Positioned:
    """A sample at its place.

    Args:
        number: Of the rank's own positions, from 0.
        place: What stands there.
        sample: Encoded, with its seed.
    """

    number: int
    place: Place
    sample: EncodedSample


@dataclass(frozen=True)
class _Job:
    """What a worker is asked for; `cache_name` is empty for a sample that is not kept."""

    number: int
    place: Place
    variant: int
    cache_name: str
    is_cached: bool


@dataclass(frozen=True)
class _Outcome:
    """What comes back; `bad` is the key and the reason of one that cannot be used. Errors do not travel well."""

    job: _Job
    sample: Sample | None = None
    bad: tuple[str, str] | None = None


class SampleStream:
    """The samples of one rank, without end.

    Args:
        sources: The sets, in the order of the mixture.
        mixture: Says which sample stands where.
        encode: Makes latents; called in this process.
        guard: Counts bad samples.
        cache: Keeps what was encoded; None for no cache.
        clip_variants: Number of starts that a clip is cut at, over the epochs, where there is a cache; without one each
            epoch has a start of its own.
        rank: This rank.
        world_size: Number of ranks.
        workers: Processes that decode; 0 decodes here.
        prefetch: Samples that each worker decodes ahead.
        state: Of an earlier stream of this rank, to go on where it stood; or of a run of a single rank, or of one put
            together from several (see `positions.py`), of which this rank takes its share from there on.
        strict: Refuse a state of other data, another seed or another rank; else go on at about the same place, with a
            warning.

    Raises:
        ConfigError: The state is refused.
    """

    def __init__(
        self,
        sources: Sequence[SampleSource],
        mixture: Mixture,
        *,
        encode: Encode,
        guard: BadSampleGuard,
        cache: LatentCache | None = None,
        clip_variants: int = 1,
        rank: int = 0,
        world_size: int = 1,
        workers: int = 0,
        prefetch: int = 2,
        state: Mapping[str, Any] | None = None,
        strict: bool = True,
    ) -> None:
        self.sources = tuple(sources)
        self.mixture = mixture
        self.guard = guard
        self.cache = cache
        self.rank, self.world_size = rank, world_size
        self.next_number = 0
        self._done: frozenset[int] = frozenset()
        self._encode = encode
        self._clip_variants = clip_variants
        self._workers, self._prefetch = workers, prefetch
        self._outcomes: Iterator[_Outcome] | None = None
        self.fingerprint = str(
            derive_seed(
                mixture.seed,
                *mixture.counts,
                *mixture.lengths,
                *(source.fingerprint for source in sources),
                clip_variants,
            )
        )
        if state:
            self._load(state, strict=strict)

    def __iter__(self) -> Iterator[Positioned]:
        return self

    def __next__(self) -> Positioned:
        """The next sample that can be used.

        Raises:
            MediaError: Too many cannot.
            ResourceError: A worker was ended from outside, which mostly means that memory ran out.
        """
        while True:
            outcome = self._next_outcome()
            self.next_number = outcome.job.number + 1
            try:
                sample = self._encoded(outcome)
            except SampleError as error:
                self._count_bad(outcome.job.place, error)
                continue
            place = outcome.job.place
            self.guard.good(self._set_name(place))
            seed = derive_seed(self.mixture.seed, "sample", place.position)
            return Positioned(outcome.job.number, place, replace(sample, seed=seed))

    def reject(self, item: Positioned, error: SampleError) -> None:
        """Count a sample that was given as one that cannot be used after all.

        Raises:
            MediaError: Too many cannot.
        """
        self.guard.take_back(self._set_name(item.place))
        self._count_bad(item.place, error)

    def state(self, *, before: Positioned | None = None) -> dict[str, Any]:
        """Where the stream stands, as plain values.

        Args:
            before: The sample that was given last, if it is to be given again.
        """
        guard = self.guard.state()
        if before is not None:
            guard["seen"][self._set_name(before.place)] -= 1
        number = self.next_number if before is None else before.number
        done = sorted(place for place in self._done if place >= self._position(number))
        return {
            "next": number,
            **({"done": done} if done else {}),
            "rank": self.rank,
            "world_size": self.world_size,
            "seed": self.mixture.seed,
            "fingerprint": self.fingerprint,
            "has_fresh_starts": self.cache is None,
            "guard": guard,
        }

    def close(self) -> None:
        """Stop the workers; asking for a sample starts them again."""
        self._outcomes = None

    def _load(self, state: Mapping[str, Any], *, strict: bool) -> None:
        own = self.state()
        meanings = {"seed": "the run's seed", "fingerprint": "the sets, their weights or their samples"}
        if state["world_size"] != 1:  # else it says of every place of the stream whether its sample was taken
            meanings |= {"world_size": "the number of ranks", "rank": "the rank"}
        for name, meaning in meanings.items():
            if state[name] == own[name]:
                continue
            found = f"a data position of a run in which {meaning} differed ({state[name]} then, {own[name]} now)"
            if strict:
                raise ConfigError(
                    found,
                    expected="the same data in the same order",
                    fix="restore what was changed, or start a new run from these weights",
                )
            logger.warning("%s; some samples may come again or never", found)
        if state.get("has_fresh_starts", own["has_fresh_starts"]) != own["has_fresh_starts"]:
            logger.warning("with or without a cache, unlike before: clips are cut at other starts from here on")
        position = int(state["next"]) * int(state["world_size"]) + int(state["rank"])
        self.next_number = max(0, -((self.rank - position) // self.world_size))  # the first that is not before it
        self._done = frozenset(state.get("done", ()))
        self.guard.load(state["guard"])
        if state["fingerprint"] != own["fingerprint"]:
            self.guard.known.clear()  # numbers of other samples

    def _count_bad(self, place: Place, error: SampleError) -> None:
        self.guard.bad(self._set_name(place), place.index, error)

    def _set_name(self, place: Place) -> str:
        return self.sources[place.set_index].name

    def _next_outcome(self) -> _Outcome:
        if self._outcomes is None:
            self._outcomes = self._start()
        try:
            return next(self._outcomes)
        except RuntimeError as error:
            self._outcomes = None
            ended = ended_worker(error)
            if ended is not None:
                raise ended from error
            raise

    def _start(self) -> Iterator[_Outcome]:
        loader = DataLoader(
            _Decoder(self.sources),
            batch_size=None,
            sampler=_Jobs(self),
            num_workers=self._workers,
            prefetch_factor=self._prefetch if self._workers else None,
            worker_init_fn=_follow_the_parent if self._workers else None,
        )
        with _stops_held_back():
            return iter(loader)

    def jobs(self) -> Iterator[_Job]:
        """What is to be decoded from here on; each is looked up in the cache as its turn to be decoded comes."""
        number = self.next_number
        while True:
            if self._position(number) not in self._done:
                yield self._job(number)
            number += 1

    def _position(self, number: int) -> int:
        """Place in the stream of all ranks of one of this rank's own."""
        return number * self.world_size + self.rank

    def _job(self, number: int) -> _Job:
        place = self.mixture[self._position(number)]
        source = self.sources[place.set_index]
        if self.cache is None:
            return _Job(number, place, place.clip, "", is_cached=False)
        variant = place.clip % self._clip_variants
        try:
            facts = source.describe(place.index)
        except SampleError:  # decoding it meets the same and reports it in its turn
            return _Job(number, place, variant, "", is_cached=False)
        name = self.cache.name_of(facts.fingerprint, variant=variant if facts.has_variants else 0)
        return _Job(number, place, variant, name, is_cached=self.cache.has(name))

    def _encoded(self, outcome: _Outcome) -> EncodedSample:
        """The sample of an outcome.

        Raises:
            SampleError: It cannot be used.
        """
        job = outcome.job
        if job.is_cached and self.cache is not None:
            cached = self.cache.load(job.cache_name)
            if cached is not None:
                return cached
            outcome = _decoded(self.sources, job)
        if outcome.bad is not None or outcome.sample is None:
            raise SampleError(*(outcome.bad or ("", "not decoded")))
        encoded = self._encode(outcome.sample)
        if self.cache is not None and job.cache_name:
            self.cache.store(job.cache_name, encoded)
        return encoded


class _Jobs(Sampler[_Job]):
    """The jobs of a stream, as the loader of torch takes them."""

    def __init__(self, stream: SampleStream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[_Job]:
        return self._stream.jobs()


class _Decoder(Dataset[_Outcome]):
    """What a worker holds: the sources alone."""

    def __init__(self, sources: Sequence[SampleSource]) -> None:
        self._sources = sources

    def __getitem__(self, job: _Job) -> _Outcome:
        return _Outcome(job) if job.is_cached else _decoded(self._sources, job)


def _decoded(sources: Sequence[SampleSource], job: _Job) -> _Outcome:
    source = sources[job.place.set_index]
    generator = seeded_generator("start", source.name, job.place.index, job.variant)
    try:
        return _Outcome(job, sample=source.load(job.place.index, generator=generator))
    except SampleError as error:
        return _Outcome(job, bad=(error.key, error.reason))


def _follow_the_parent(_worker: int) -> None:
    """Make a worker end when its parent does, and not before.

    Ctrl-C goes to every process of a terminal, SIGTERM from a job's scheduler to every process of the job: the parent
    finishes its step and saves, for which it still wants samples, and ends the workers then. A worker whose parent is
    gone would by torch's own way end in order, which waits for ever for somebody to read what it had sent.
    """
    for number in _STOPS:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_AFTER_PARENT)
    os._exit(1)


@contextmanager
def _stops_held_back() -> Iterator[None]:
    """While workers start; they inherit it, so that none is ended before it has come to ignore them by itself."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows, whose processes do not get them
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
