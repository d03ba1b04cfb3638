"""From verdicts to rates: over tasks, kinds, asks, references; and how sure the mean is."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeVar

from ..data.world.edits import EDITS
from ..data.world.samples import Request
from ..types import Task
from .judge import Verdict

Key = TypeVar("Key", bound=Hashable)

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Score:
    """What became of one sample.

    Args:
        key: See `plan.SuiteSample`.
        request: What was asked.
        verdict: Whether it was done.
        unchanged_psnr: See `measures`; None where undefined, like those below.
        motion_agreement: See `measures`.
        flicker: See `measures`.
        sharpness: See `measures`.
    """

    key: str
    request: Request
    verdict: Verdict
    unchanged_psnr: float | None = None
    motion_agreement: float | None = None
    flicker: float | None = None
    sharpness: float | None = None

    @property
    def is_valid(self) -> bool:
        """Whether it could be judged at all."""
        return bool(self.verdict.asks) or not self.request.asks


@dataclass(frozen=True)
class Rate:
    """How many of a group are right.

    Args:
        right: Those that are.
        total: All of them.
    """

    right: int
    total: int

    @property
    def share(self) -> float:
        """0 to 1; not a number for an empty group."""
        return self.right / self.total if self.total else math.nan


def rates(pairs: Iterable[tuple[Key, bool]]) -> dict[Key, Rate]:
    """Rate of each key, in order of first appearance."""
    right: dict[Key, int] = {}
    total: dict[Key, int] = {}
    for key, is_right in pairs:
        right[key] = right.get(key, 0) + is_right
        total[key] = total.get(key, 0) + 1
    return {key: Rate(right[key], total[key]) for key in total}


def strictly(score: Score) -> bool:
    """Success: what was asked is there, and nothing else changed."""
    return score.verdict.is_right


def as_asked(score: Score) -> bool:
    """Whether what was asked is there, whatever became of the rest."""
    return score.verdict.is_asked_right


Success = Callable[[Score], bool]
"""What counts: `strictly` or `as_asked`."""


def per_task(scores: Sequence[Score], success: Success = strictly) -> dict[str, Rate]:
    """Success by task."""
    found = rates((score.request.task.name, success(score)) for score in scores if score.is_valid)
    return {task.value: found[task.value] for task in Task if task.value in found}


def per_task_and_kind(scores: Sequence[Score], success: Success = strictly) -> dict[tuple[str, str], Rate]:
    """Success by task and kind."""
    found = rates(((score.request.task.name, score.request.kind), success(score)) for score in scores if score.is_valid)
    return {(task, kind): found[task, kind] for task in per_task(scores) for of, kind in found if of == task}


def per_edit_kind(scores: Sequence[Score], success: Success = strictly) -> dict[str, Rate]:
    """Success by kind of edit, of clips and stills together."""
    found = rates(
        (score.request.kind, success(score))
        for score in scores
        if score.is_valid and score.request.before is not None and not score.request.references
    )
    return {kind: found[kind] for kind in EDITS if kind in found}


def per_ask(scores: Sequence[Score]) -> dict[str, Rate]:
    """How many of the single things asked for are seen, by attribute."""
    return rates((ask.ask.attribute, ask.is_right) for score in scores for ask in score.verdict.asks)


def per_reference_part(scores: Sequence[Score]) -> dict[str, Rate]:
    """How many references are obeyed, by what they show."""
    return rates(
        (ask.ask.attribute, ask.is_right)
        for score in scores
        for ask in score.verdict.asks
        if ask.ask.reference is not None
    )


def per_reference_count(scores: Sequence[Score]) -> dict[int, Rate]:
    """How many references are obeyed, by how many a request has."""
    found = rates(
        (len(score.request.references), ask.is_right)
        for score in scores
        for ask in score.verdict.asks
        if ask.ask.reference is not None
    )
    return dict(sorted(found.items()))


def mean_over_tasks(scores: Sequence[Score], success: Success = strictly) -> float:
    """Mean of the tasks' rates."""
    shares = [rate.share for rate in per_task(scores, success).values()]
    return sum(shares) / len(shares) if shares else math.nan


def mean_interval(scores: Sequence[Score]) -> tuple[float, float]:
    """Interval that the mean over tasks lies in with 95 % confidence.

    Wilson's interval of each task, whose distances to the rates are combined as independent errors are. Unlike a
    bootstrap's it has a width where all samples of a task are right, or none. Samples of a task count as alike.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", 1927; Zou, Huang, Zhang, "A
    note on confidence interval estimation for a linear function of binomial proportions", 2009.
    """
    found = list(per_task(scores).values())
    if not found:
        return math.nan, math.nan
    edges = [(rate.share, *wilson_interval(rate)) for rate in found]
    mean = sum(share for share, _, _ in edges) / len(edges)
    below = math.hypot(*(share - low for share, low, _ in edges)) / len(edges)
    above = math.hypot(*(high - share for share, _, high in edges)) / len(edges)
    return max(mean - below, 0.0), min(mean + above, 1.0)


def wilson_interval(rate: Rate) -> tuple[float, float]:
    """Interval that the share which a rate is a sample of lies in with 95 % confidence; of at least one sample.

    Source: Wilson, 1927, without a correction for continuity.
    """
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    weight = z**2 / rate.total
    centre = (rate.share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(rate.share * (1 - rate.share) / rate.total + weight / (4 * rate.total))
    return max(centre - half, 0.0), min(centre + half, 1.0)


def mean_of(scores: Sequence[Score], measure: Callable[[Score], float | None]) -> float | None:
    """Mean of a measure over the samples that have it; None if none has. Endless decibels count as 100."""
    values = [value for score in scores if (value := measure(score)) is not None]
    return sum(min(value, 100.0) for value in values) / len(values) if values else None
