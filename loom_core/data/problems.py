"""Counting what cannot be used, by kind and with examples, and stopping a run that loses too much."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import MediaError
from .sample import SampleError

logger = logging.getLogger(__name__)

EXAMPLES = 5


@dataclass(frozen=True)
class BadSample:
    """One that cannot be used.

    Args:
        set_name: Of its set.
        key: Names it there.
        reason: What is wrong with it, in one line.
    """

    set_name: str
    key: str
    reason: str


class BadSamplesError(MediaError):
    """The end of a run whose samples cannot be used.

    Args:
        found: See `LoomError`.
        expected: See there.
        fix: See there.
        left_out: Those that no pack has told of.
    """

    def __init__(self, found: str, *, expected: str, fix: str, left_out: tuple[BadSample, ...]) -> None:
        super().__init__(found, expected=expected, fix=fix)
        self.left_out = left_out


def kind_of(reason: str) -> str:
    """What a reason is counted under: what stands before its first colon."""
    return reason.partition(":")[0].strip()


class Problems:
    """Numbers of samples that cannot be used, by kind, with the first few of each."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.examples: dict[str, list[str]] = {}

    def add(self, key: str, reason: str) -> bool:
        """Count one; True when it is the first of its kind."""
        kind = kind_of(reason)
        self.counts[kind] = self.counts.get(kind, 0) + 1
        examples = self.examples.setdefault(kind, [])
        if len(examples) < EXAMPLES:
            examples.append(f"{key} ({reason})" if reason != kind else key)
        return self.counts[kind] == 1

    @property
    def total(self) -> int:
        """Number of all of them."""
        return sum(self.counts.values())

    def summary(self) -> str:
        """All kinds with their numbers and examples, in one line; the most frequent first."""
        kinds = sorted(self.counts, key=lambda kind: -self.counts[kind])
        return "; ".join(f"{self.counts[kind]} x {kind}: {', '.join(self.examples[kind])}" for kind in kinds)

    def state(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "counts": dict(self.counts),
            "examples": {kind: list(examples) for kind, examples in self.examples.items()},
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` gave."""
        self.counts = dict(state["counts"])
        self.examples = {kind: list(examples) for kind, examples in state["examples"].items()}


def bad_samples(state: Mapping[str, Any]) -> int:
    """Number of different samples that could not be used up to a position in the data (`Pack.state`); 0 without one."""
    return sum(state.get("guard", {}).get("counts", {}).values())


def merged_guards(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the guards of several ranks counted, as one of them would have; of `BadSampleGuard.state`."""
    merged: dict[str, Any] = {name: {} for name in ("seen", "lost", "known", "counts", "examples")}
    for state in states:
        for name in ("seen", "lost", "counts"):
            for key, count in state[name].items():
                merged[name][key] = merged[name].get(key, 0) + count
        for key, indices in state["known"].items():
            merged["known"][key] = sorted({*merged["known"].get(key, ()), *indices})
        for kind, examples in state["examples"].items():
            merged["examples"][kind] = [*merged["examples"].get(kind, ()), *examples][:EXAMPLES]
    return merged


class BadSampleGuard:
    """Counts the samples of a run and stops it when too many of all, or of one set, cannot be used.

    What is judged is the share of what is met, epoch after epoch; told and counted by kind is each sample once.

    Args:
        max_share: Largest share of bad samples, below 1.
        min_bad: Number of bad samples below which nothing is said.
    """

    def __init__(self, *, max_share: float, min_bad: int) -> None:
        self.max_share = max_share
        self.min_bad = min_bad
        self.seen: dict[str, int] = {}
        """Samples by set."""
        self.lost: dict[str, int] = {}
        """Bad ones among them."""
        self.known: dict[str, set[int]] = {}
        """Numbers of different bad ones by set."""
        self.problems = Problems()
        self._new: list[BadSample] = []

    @property
    def num_seen(self) -> int:
        """Number of samples so far."""
        return sum(self.seen.values())

    def good(self, set_name: str) -> None:
        """Count a sample that can be used."""
        self.seen[set_name] = self.seen.get(set_name, 0) + 1

    def take_back(self, set_name: str) -> None:
        """Uncount a good one."""
        self.seen[set_name] -= 1

    def bad(self, set_name: str, index: int, error: SampleError) -> None:
        """Count one that cannot; the first of each kind is logged.

        Args:
            set_name: Of its set.
            index: Its number there.
            error: What is wrong with it.

        Raises:
            BadSamplesError: They are.
        """
        self.seen[set_name] = self.seen.get(set_name, 0) + 1
        self.lost[set_name] = self.lost.get(set_name, 0) + 1
        known = self.known.setdefault(set_name, set())
        if index not in known:
            known.add(index)
            self._new.append(BadSample(set_name, error.key, error.reason))
            if self.problems.add(f"{set_name}: {error.key}", error.reason):
                logger.warning(
                    "a sample of %s was left out: %s; more of this kind are only in the metrics", set_name, error
                )
        self._check(self.lost[set_name], self.seen[set_name], len(known), f"samples of {set_name}")
        self._check(sum(self.lost.values()), self.num_seen, self.problems.total, "samples")

    def take_new(self) -> tuple[BadSample, ...]:
        """The different bad ones since the last call."""
        new, self._new = tuple(self._new), []
        return new

    def _check(self, bad: int, seen: int, different: int, what: str) -> None:
        if bad >= self.min_bad and bad > self.max_share * seen:
            again = f", {different} different ones that came again" if different < bad else ""
            raise BadSamplesError(
                f"{bad} of {seen} {what} that cannot be used{again} ({self.problems.summary()})",
                expected=f"at most {self.max_share:.1%}",
                fix="repair or remove them, or raise max_bad_share",
                left_out=self.take_new(),
            )

    def state(self) -> dict[str, Any]:
        """As plain values."""
        known = {name: sorted(indices) for name, indices in self.known.items()}
        return {"seen": dict(self.seen), "lost": dict(self.lost), "known": known, **self.problems.state()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` gave."""
        self.seen, self.lost = dict(state["seen"]), dict(state["lost"])
        self.known = {name: set(indices) for name, indices in state["known"].items()}
        self.problems.load(state)
